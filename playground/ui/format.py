"""How numbers and times are written in sentences and tables. Minus is U+2212; intervals are in square brackets."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

MINUS = "\u2212"
NOTHING = 0.02  # percent: a softmax is never exactly 0


def signed(text: str) -> str:
    """Return `text` with a true minus sign in front, where it had a hyphen."""
    return MINUS + text[1:] if text.startswith("-") else text


def percents(weights: Sequence[float] | np.ndarray) -> list[str]:
    """Return whole percents that sum to 100 (largest remainder). What is small but not nothing reads `<1%`.

    Only for sentences that a screen reader speaks. What is drawn gets its percents from `static/lib/format.js`; both
    are tested on the cases of `tests/js/format-cases.json`.
    """
    values = np.asarray(weights, dtype=np.float64)
    total = values.sum()
    if total <= 0:
        return ["0%"] * len(values)
    exact = values / total * 100
    whole = np.floor(exact).astype(int)
    for i in np.argsort(-(exact - whole), kind="stable")[: 100 - int(whole.sum())]:
        whole[i] += 1
    return ["<1%" if n == 0 and value > NOTHING else f"{n}%" for n, value in zip(whole, exact, strict=True)]


def duration(seconds: float) -> str:
    """Return `11 ms`, `4.2 s` or `1:05`."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def speed(tokens_per_second: float) -> str:
    """Return `24.8 tok/s`."""
    return f"{tokens_per_second:.1f} tok/s"


def probability(value: float) -> str:
    """Return three decimals: `0.581`."""
    return "–" if value != value else signed(f"{value:.3f}")


def points(gain: float, low: float | None = None, high: float | None = None) -> str:
    """Return a gain as signed points: `+1.8 pts [+0.4, +3.1]`."""
    text = signed(f"{gain * 100:+.1f}") + " pts"
    if low is None or high is None:
        return text
    return f"{text} [{signed(f'{low * 100:+.1f}')}, {signed(f'{high * 100:+.1f}')}]"


def noise_words(low: float | None, high: float | None) -> str:
    """Say whether an interval of a gain covers 0, in words."""
    if low is None or high is None:
        return ""
    return "within noise" if low <= 0 <= high else "beyond noise"


def count(number: int) -> str:
    """Return `1,234`; from 10,000 on `12.3k`."""
    return f"{number:,}" if number < 10_000 else f"{number / 1000:.1f}k"


def plural(number: int, noun: str) -> str:
    """Return `1 label`, `2 labels`."""
    return f"{count(number)} {noun}" + ("" if number == 1 else "s")


def megabytes(size: int) -> str:
    """Return bytes as whole megabytes, without the unit."""
    return f"{size / 1e6:.0f}"


def age(moment: datetime) -> str:
    """Return `just now`, `3 min ago`, `2 h ago`, `5 d ago`; a moment without a zone is taken as UTC."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for limit, size, unit in ((60, 1, ""), (3600, 60, "min"), (86400, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // size)} {unit} ago" if unit else "just now"
    return f"{int(seconds // 86400)} d ago"


def shortened(text: str, limit: int = 90) -> str:
    """Return `text` on one line, cut at `limit` characters with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"
