"""Count how often somebody did something lately. The clock is an argument, so this is pure and quick to test."""

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field

MOST_KNOWN = 10_000


@dataclass
class Rate:
    """Allow an amount of `most` in any `seconds`, for each key on its own. What is older is forgotten."""

    most: float
    seconds: float
    _spent: "OrderedDict[Hashable, deque[tuple[float, float]]]" = field(default_factory=OrderedDict)

    def used(self, key: Hashable, now: float) -> float:
        """Return how much `key` has used in the last `seconds`."""
        return sum(amount for _, amount in self._recent(key, now))

    def wait(self, key: Hashable, now: float, amount: float = 1, *, most: float | None = None) -> float:
        """Return how many seconds `key` has to wait until it can use `amount` more. 0 when it can at once.

        `most` replaces the rate's own.
        """
        left = self.used(key, now) + amount - (self.most if most is None else most)
        for at, spent in self._recent(key, now):
            if left <= 0:
                break
            left -= spent
            if left <= 0:
                return at + self.seconds - now
        return 0.0 if left <= 0 else self.seconds

    def spend(self, key: Hashable, now: float, amount: float = 1) -> None:
        """Note that `key` used `amount`, whether or not it may."""
        spent = self._spent.setdefault(key, deque())
        spent.append((now, amount))
        self._spent.move_to_end(key)
        while len(self._spent) > MOST_KNOWN:
            self._spent.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Forget what `key` used."""
        self._spent.pop(key, None)

    def _recent(self, key: Hashable, now: float) -> "deque[tuple[float, float]]":
        spent = self._spent.get(key, deque())
        while spent and spent[0][0] <= now - self.seconds:
            spent.popleft()
        return spent
