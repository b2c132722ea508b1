"""What the dial shows: the reasons there are, the routed mix at an angle, and the front of what can be reached."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from playground.core.values import Pool
from playground.ui.format import plural, probability
from playground.ui.palette import looks
from playground.ui.views.named import weight_bars

if TYPE_CHECKING:
    from playground.actions.aspects import AspectDial

LEAST_SHOWN = 0.02
HEIGHT = 320


def hint_html(counts: Sequence[tuple[str, int]]) -> str:
    """Return how many votes give each reason, and what is missing for a dial."""
    if not counts:
        return (
            '<p class="hint">No vote gives a reason yet. After a vote, tick why: “more correct”, “shorter”. '
            "With 20 votes for each of two reasons, the router can be turned between them.</p>"
        )
    told = " · ".join(f"{escape(name)} {count}" for name, count in counts)
    return f'<p class="hint">Votes by reason: {told}. A reason needs 20 votes before it can be learned.</p>'


def mix_html(dial: "AspectDial", angle: float, pool: Pool) -> str:
    """Return the routed mix at an angle, on the prompts where both aspects disagree, and how sure each aspect is."""
    mix = dial.mix(angle)
    shown = sorted((i for i in range(len(mix)) if mix[i] >= LEAST_SHOWN), key=lambda i: -mix[i])
    clashing = int(dial.clashing.sum())
    sure = " · ".join(
        f"“{escape(reason)}” agrees with {probability(figure.value)} of its {plural(figure.n, 'held-out label')}"
        for reason, figure in zip(dial.reasons, dial.agreements, strict=True)
    )
    return (
        f"<p>Who is asked on the {plural(clashing, 'example prompt')} of {len(dial.prompts)} where the two reasons "
        f"disagree:</p>{weight_bars(looks(dial.experts, pool), mix.tolist(), shown)}"
        f'<p class="hint">{sure}. These are the router\'s own guesses, not measured answers.</p>'
    )


def front_figure(dial: "AspectDial", angle: float) -> Any:
    """Return the picture of both aspects: the front, the dial's path, and where it stands. Colours fit both themes."""
    import plotly.graph_objects as go  # noqa: PLC0415  (takes a while, and only a learned dial needs it)

    ink, muted = "#7d7d85", "rgba(125,125,133,.35)"
    now = dial.averages(angle)
    first, second = dial.reasons
    front = dial.front[dial.front[:, 0].argsort()]
    figure = go.Figure(
        [
            _line(front, "best possible", muted, mode="lines+markers"),
            _line(dial.path, "the dial", ink),
            _line(now[None], f"{angle:.0f}°", "#fd5b0b", mode="markers"),
        ]
    )
    axis = {"gridcolor": "rgba(125,125,133,.2)", "zerolinecolor": "rgba(125,125,133,.4)", "fixedrange": True}
    figure.update_layout(
        height=HEIGHT,
        margin={"l": 50, "r": 12, "t": 12, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": ink, "size": 12},
        legend={"orientation": "h", "y": 1.12},
        xaxis={**axis, "title": f"“{first}”, standard deviations"},
        yaxis={**axis, "title": f"“{second}”"},
    )
    return figure


def _line(points: np.ndarray, name: str, colour: str, mode: str = "lines") -> dict[str, Any]:
    """Return one trace over points (M, 2)."""
    marker: dict[str, Any] = {"size": 13, "symbol": "diamond"} if mode == "markers" else {"size": 7}
    look = {"color": colour, "width": 3}
    values = {"x": points[:, 0].tolist(), "y": points[:, 1].tolist()}
    return {
        "type": "scatter",
        **values,
        "name": name,
        "mode": mode,
        "line": look,
        "marker": {**marker, "color": colour},
    }
