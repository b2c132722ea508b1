"""The pictures and tables of a board. All text is escaped: names of routers and experts can come from a file."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from playground.core.values import Pool
from playground.ui.format import plural
from playground.ui.palette import PALETTE, looks

if TYPE_CHECKING:
    from playground.learn.understanding.agreement import Agreement
    from playground.learn.understanding.board import Board, Standing

INK, GRID, NEUTRAL = "#80808a", "rgba(128,128,138,0.25)", "#7a7fd0"  # readable on white and on #18181b
FONT = {"family": "system-ui, sans-serif", "size": 12, "color": INK}
SHOWN, LINES, MATRIX = 30, 8, 12
TITLE = 26  # letters of a name beside a picture
ROW_PX, EDGE_PX, TIME_PX = 30, 90, 300
LETTER_PX = 6.5
WORDS = {"expert": "experts", "router": "routers", "version": "router versions"}
EMPTY = (
    '<div class="empty"><p>No board yet: {count} of {needed} votes.</p>'
    '<p class="hint">A board of {what} counts blind votes between two different ones.</p>{left}'
    '<button type="button" class="example" data-id="compare">Compare two answers</button></div>'
)


def empty_html(entity: str, votes: int, needed: int, excluded: Mapping[str, int]) -> str:
    """Return what stands where a board will be, with the votes that are missing."""
    reasons = ", ".join(f"{escape(reason)} {count}" for reason, count in sorted(excluded.items()))
    left = f'<p class="hint">Labels that do not count here: {reasons}.</p>' if reasons else ""
    return EMPTY.format(count=votes, needed=needed, what=WORDS[entity], left=left)


def board_html(found: "Board", pool: Pool, remarks: Sequence[str], agreement: "Agreement | None") -> str:
    """Return the standings as a table, what they hide, and the win matrix, the categories and the style as tables."""
    names = titles(found, pool)
    people = "one person" if found.people == 1 else f"{found.people} people"
    head = (
        f'<p class="hint">{plural(found.votes, "vote")} of {people} on {plural(found.prompts, "prompt")}. '
        "Ratings are Bradley-Terry with Davidson's ties; 100 points more win 64 % of the decided votes. "
        "Intervals are 95 %, by bootstrap.</p>"
    )
    told = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    agreed = f"<li>{escape(agreement_words(agreement))}</li>" if agreement is not None else ""
    return (
        f"{head}{_standings(found.standings, names)}"
        f'<h4>What the ratings hide</h4><ul class="remarks">{told}{agreed}</ul>'
        f"{_folded('Who beat whom', _matrix(found, names))}"
        f"{_folded('By category', _categories(found, names))}"
        f"{_folded('Over time', _times(found, names))}"
        f"{_folded('Style', _style(found))}"
    )


def agreement_words(found: "Agreement") -> str:
    """Return in one sentence how far people agree."""
    if not found.items:
        return "Nobody judged what another person judged, so how far people agree is unknown."
    alpha, low, high = found.alpha_nominal
    return (
        f"Two people agree on {found.percent[0]:.0%} of {plural(found.items, 'shared comparison')}; "
        f"Krippendorff's alpha is {alpha:.2f} [{low:.2f}, {high:.2f}], where 0 is chance and 1 is perfect."
    )


def titles(found: "Board", pool: Pool) -> dict[str, str]:
    """Return how each entity is called on the page: an expert by its title, others by their name."""
    names = [standing.name for standing in found.standings]
    if found.entity != "expert":
        return {name: name for name in names}
    return {name: look.title for name, look in zip(names, looks(names, pool), strict=True)}


def rating_figure(found: "Board", pool: Pool) -> go.Figure:
    """Return the ratings as points with their intervals, the best on top."""
    names, colours = titles(found, pool), _colours(found, pool)
    lines = found.standings[:SHOWN]
    figure = go.Figure(layout=_layout(ROW_PX * len(lines) + EDGE_PX, _longest([names[line.name] for line in lines])))
    for line in lines:
        words = f"{line.rating:.0f} [{line.low:.0f}, {line.high:.0f}], {plural(line.votes, 'vote')}"
        figure.add_scatter(
            x=[line.rating],
            y=[_short(names[line.name], line.rank)],
            error_x={"array": [line.high - line.rating], "arrayminus": [line.rating - line.low], "thickness": 2},
            mode="markers",
            marker={
                "size": 10,
                "color": colours[line.name],
                "symbol": "circle-open" if line.is_provisional else "circle",
            },
            hovertemplate=f"{escape(names[line.name])}: {words}<extra></extra>",
            showlegend=False,
        )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(title={"text": "rating"}, gridcolor=GRID, zeroline=False)
    return figure


def time_figure(found: "Board", pool: Pool) -> go.Figure:
    """Return the ratings of the best eight over time, from all votes up to each moment."""
    names, colours = titles(found, pool), _colours(found, pool)
    figure = go.Figure(layout=_layout(TIME_PX, 40))
    for line in found.standings[:LINES]:
        points = [(moment, ratings[line.name]) for moment, ratings in found.over_time if line.name in ratings]
        figure.add_scatter(
            x=[moment for moment, _ in points],
            y=[rating for _, rating in points],
            mode="lines+markers",
            name=escape(_cut(names[line.name])),
            line={"color": colours[line.name], "width": 2},
            hovertemplate=f"{escape(names[line.name])}: %{{y:.0f}} on %{{x}}<extra></extra>",
        )
    figure.update_layout(legend={"orientation": "h", "y": -0.2})
    figure.update_yaxes(title={"text": "rating"}, gridcolor=GRID, zeroline=False)
    figure.update_xaxes(showgrid=False)
    return figure


def _layout(height: int, left: float) -> go.Layout:
    clear = "rgba(0,0,0,0)"
    return go.Layout(
        height=height,
        margin={"l": left, "r": 14, "t": 14, "b": 44},
        paper_bgcolor=clear,
        plot_bgcolor=clear,
        font=FONT,
        dragmode=False,
    )


def _longest(words: Sequence[str]) -> float:
    return LETTER_PX * (4 + max((len(_cut(word)) for word in words), default=0)) + 12


def _cut(name: str) -> str:
    return name if len(name) <= TITLE else f"{name[: TITLE - 1]}…"


def _short(name: str, rank: int) -> str:
    return f"{rank}. {escape(_cut(name))}"


def _colours(found: "Board", pool: Pool) -> dict[str, str]:
    """Return the colour of each entity: the expert's own, else the palette's in the order of the board."""
    names = [standing.name for standing in found.standings]
    if found.entity != "expert":
        return {name: PALETTE[place % len(PALETTE)].fill for place, name in enumerate(names)}
    shown = zip(names, looks(names, pool), strict=True)
    return {name: PALETTE[look.slot].fill if look.slot >= 0 else NEUTRAL for name, look in shown}


def _standings(lines: Sequence["Standing"], names: Mapping[str, str]) -> str:
    heads = ("#", "name", "rating", "95 %", "votes", "won", "tied", "lost", "best", "without ties", "style removed")
    rows = [
        [
            str(line.rank),
            escape(names[line.name]) + (' <span class="muted">provisional</span>' if line.is_provisional else ""),
            f"<b>{line.rating:.0f}</b>",
            f"{line.low:.0f} to {line.high:.0f}",
            *(str(count) for count in (line.votes, line.wins, line.ties, line.losses)),
            f"{line.best:.0%}",
            f"{line.without_ties:.0f}",
            f"{line.controlled:.0f} {_span(line.controlled_low, line.controlled_high)}",
        ]
        for line in lines
    ]
    return _table(heads, rows, "Standings")


def _span(low: float, high: float) -> str:
    return f'<span class="muted">({low:.0f} to {high:.0f})</span>'


def _matrix(found: "Board", names: Mapping[str, str]) -> str:
    """Return how often the row beat the column, of the best twelve."""
    shown = [standing.name for standing in found.standings[:MATRIX]]
    rows = [
        [escape(names[name]), *("" if i == j else f"{found.wins[i, j]}" for j in range(len(shown)))]
        for i, name in enumerate(shown)
    ]
    note = "" if len(shown) == len(found.standings) else f"The best {MATRIX} are shown. "
    heads = ("beat →", *(escape(_cut(names[name])) for name in shown))
    return f'<p class="hint">{note}A row says how often it beat each column.</p>{_table(heads, rows, "Who beat whom")}'


def _categories(found: "Board", names: Mapping[str, str]) -> str:
    if not found.categories:
        return '<p class="hint">No category has 20 votes yet.</p>'
    heads = ("name", *(f"{escape(name)} ({count})" for name, (count, _) in found.categories.items()))
    rows = [
        [
            escape(names[line.name]),
            *(f"{ratings[line.name]:.0f}" if line.name in ratings else "" for _, ratings in found.categories.values()),
        ]
        for line in found.standings
    ]
    return _table(heads, rows, "Ratings by category; the number of votes is in brackets")


def _times(found: "Board", names: Mapping[str, str]) -> str:
    heads = ("up to", *(escape(_cut(names[line.name])) for line in found.standings[:LINES]))
    rows = [
        [
            f"{moment:%Y-%m-%d %H:%M}",
            *(f"{ratings[line.name]:.0f}" if line.name in ratings else "" for line in found.standings[:LINES]),
        ]
        for moment, ratings in found.over_time
    ]
    return _table(heads, rows, "Ratings over time")


def _style(found: "Board") -> str:
    rows = [[name, f"{eta:+.2f}", f"{low:+.2f} to {high:+.2f}"] for name, (eta, low, high) in found.style.items()]
    note = '<p class="hint">How much more of it moves the log-odds of a win. Above 0, voters like more.</p>'
    if not rows:
        return '<p class="hint">The style cannot be told from who wrote, or no answer has any.</p>'
    return note + _table(("style", "effect", "95 %"), rows, "Effect of style")


def _folded(title: str, inside: str) -> str:
    return f'<details class="twin"><summary>{escape(title)}</summary>{inside}</details>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], label: str) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{value}</td>' for value in row)}</tr>" for row in rows)
    table = f'<table class="plain board"><caption class="pg-unseen">{escape(label)}</caption>'
    return f'<div class="scroll" tabindex="0">{table}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
