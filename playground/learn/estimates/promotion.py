"""Say whether a draft may be promoted, and why not, from its figures on held-out labels.

The rule is fixed before anybody looks at a draft. Intervals come from a paired bootstrap over prompts; a one-sided
bound is taken from the two-sided interval as if it were normal. Source: Efron, "Bootstrap methods" (1979).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from playground.learn.labels.metrics import BeforeAfter, Figure

LEAST_LABELS = 100  # decisive ones; with fewer, a bootstrap over prompts is too narrow to trust
MOST_LOST = 0.01  # of accuracy, at its lower bound
MANY_LOOKS = 10  # at the same held-out labels; after that, chance alone passes somebody
Z_95, Z_90, Z_98 = 1.960, 1.645, 2.326  # two-sided 95 %, one-sided 5 % and 1 %


@dataclass(frozen=True)
class PromotionLine:
    """Hold one line of the promotion rule: what it demands, what was found, and whether it holds.

    `is_met` is None when the figures do not say.
    """

    demand: str
    found: str
    is_met: bool | None


@dataclass(frozen=True)
class PromotionRule:
    """Hold the lines of the rule for one draft. `advice` says what would settle it; empty when it passes."""

    lines: tuple[PromotionLine, ...]
    advice: str = ""

    @property
    def passes(self) -> bool:
        """Return whether every line holds."""
        return all(line.is_met for line in self.lines)


def bound(figure: Figure, *, looks: int = 1) -> float:
    """Return the lower bound of a gain: the 5 % one, or after ten looks at the same labels the 1 % one."""
    z = Z_98 if looks > MANY_LOOKS else Z_90
    return figure.value - (figure.value - figure.low) * z / Z_95


def promotion_rule(
    metrics: Mapping[str, BeforeAfter], *, kl: float | None, cap: float | None, looks: int = 1
) -> PromotionRule:
    """Return the promotion rule for a draft with these figures.

    `kl` is how far routing moved and `cap` how far it may, in nats. `looks` counts the drafts that were measured on the
    same held-out labels, this one too.
    """
    loss, accuracy = (metrics[name].gain for name in ("log_loss", "label_accuracy"))
    percent = 1 if looks > MANY_LOOKS else 5
    drafts = f" ({looks} drafts were measured on these labels)" if looks > 1 else ""
    loss_bound, accuracy_bound = bound(loss, looks=looks), bound(accuracy, looks=looks)
    lines = (
        PromotionLine(
            f"at least {LEAST_LABELS} held-out labels prefer an answer", f"{accuracy.n}", accuracy.n >= LEAST_LABELS
        ),
        PromotionLine(
            f"the loss falls, at the lower {percent} % bound{drafts}",
            _signed(loss_bound),
            _over(loss_bound, 0.0),
        ),
        PromotionLine(
            "accuracy loses no more than 1 point, at the same bound",
            "–" if math.isnan(accuracy_bound) else f"{100 * accuracy_bound:+.1f} pts".replace("-", "−"),
            _over(accuracy_bound, -MOST_LOST),
        ),
        PromotionLine(
            "routing moves no further than the cap" + ("" if cap is None else f" of {cap:g} nats"),
            "–" if kl is None else f"{kl:.3f}",
            None if kl is None or cap is None else kl <= cap + 1e-6,
        ),
    )
    rule = PromotionRule(lines)
    return rule if rule.passes else PromotionRule(lines, _advice(loss, accuracy.n, looks))


def labels_to_settle(gain: Figure, *, looks: int = 1) -> int | None:
    """Return how many held-out labels would put the bound of a gain of this size above 0. None when it is no gain.

    The width of an interval falls with the square root of the labels.
    """
    if not gain.value > 0 or math.isnan(gain.low):
        return None
    width = gain.value - bound(gain, looks=looks)
    return math.ceil(gain.n * (width / gain.value) ** 2) + 1


def _over(value: float, least: float) -> bool | None:
    return None if math.isnan(value) else value > least


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3f}".replace("-", "−")


def _advice(loss: Figure, labels: int, looks: int) -> str:
    """Return what would settle a draft that does not pass."""
    if looks > MANY_LOOKS:
        return "Collect fresh labels: too many drafts were measured on these."
    needed = labels_to_settle(loss)
    if needed is None:
        return "The held-out labels show no gain. More of the same will not change that."
    wanted = max(needed, LEAST_LABELS)
    if wanted <= labels:
        return "More labels will not change this: the gain is there, another line fails."
    return f"If the gain is as large as it looks, about {wanted} held-out labels settle it. There are {labels} now."
