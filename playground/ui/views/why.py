"""Why a router decided as it did: one drawing function per member of `Evidence`. All text is escaped here."""

from collections.abc import Callable
from html import escape
from typing import Any

from playground.core.values import Evidence, Neighbours, Pool, Scores, Text
from playground.ui.format import shortened, signed
from playground.ui.palette import looks
from playground.ui.views.named import chip


def _neighbours(evidence: Neighbours, pool: Pool) -> str:
    rows = "".join(
        f"<tr><td>{escape(shortened(prompt, 110))}</td><td>{chip(look)}</td>"
        f'<td class="num"><span class="meter" style="--w:{max(0.0, similarity):.3f}"></span>'
        f"{signed(f'{similarity:.2f}')}</td></tr>"
        for prompt, similarity, look in zip(
            evidence.prompts, evidence.similarities, looks(evidence.experts, pool), strict=False
        )
    )
    head = "<tr><th>similar prompt</th><th>best there</th><th class='num'>similarity</th></tr>"
    return f'<table class="why-table"><thead>{head}</thead><tbody>{rows}</tbody></table>' if rows else ""


def _scores(evidence: Scores, pool: Pool) -> str:
    names = evidence.experts or pool.names[: len(evidence.scores)]
    largest = max((abs(score) for score in evidence.scores), default=0.0) or 1.0
    rows = "".join(
        f"<tr><td>{chip(look)}</td><td class='axis'><span class='diff {'neg' if score < 0 else 'pos'}' "
        f"style='--w:{abs(score) / largest:.3f}'></span></td><td class='num'>{signed(f'{score:.2f}')}</td></tr>"
        for look, score in zip(looks(names, pool), evidence.scores, strict=False)
    )
    words = "".join(
        f'<span class="word">{escape(word)} <b>{signed(f"{moved:+.2f}")}</b></span>' for word, moved in evidence.words
    )
    told = f'<p class="words">words that moved it: {words}</p>' if words else ""
    return f'<table class="why-table"><tbody>{rows}</tbody></table>{told}'


def _text(_: Text, __: Pool) -> str:
    return ""


DRAWINGS: dict[str, Callable[[Any, Pool], str]] = {"neighbours": _neighbours, "scores": _scores, "text": _text}


def why_html(evidence: Evidence, pool: Pool) -> str:
    """Return the evidence as escaped HTML: a sentence first, then its picture."""
    picture = DRAWINGS[evidence.kind](evidence, pool)
    return f'<p class="sentence">{escape(evidence.sentence)}</p>{picture}'
