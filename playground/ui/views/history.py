"""The lists a visitor presses: example prompts, recent runs."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from playground.core.values import Pool
from playground.ui.format import age, plural, shortened
from playground.ui.palette import looks
from playground.ui.views.named import chip

if TYPE_CHECKING:
    from playground.core.records import RunSummary


def examples_html(prompts: Sequence[tuple[str, str]], *, limit: int) -> str:
    """Return the example prompts as chips that carry their position, and a count of the characters up to `limit`."""
    chips = "".join(
        f'<button type="button" class="example" data-id="{i}" title="{escape(prompt)}">{escape(name)}</button>'
        for i, (name, prompt) in enumerate(prompts)
    )
    count = f'<p class="hint prompt-count" data-limit="{limit}" aria-live="off"></p>'
    return f'{count}<div class="examples" role="group" aria-label="Example prompts">{chips}</div>'


def recent_html(runs: Sequence["RunSummary"], pool: Pool) -> str:
    """Return recent runs, newest first; each row reopens its run."""
    if not runs:
        return '<p class="hint">Your runs will be listed here; press one to see it again.</p>'
    rows = "".join(
        f'<button type="button" class="recent" data-id="{escape(run.id)}" title="{escape(shortened(run.text, 200))}">'
        f"{chip(looks([run.expert], pool)[0], title=False) if run.expert else ''}"
        f'<span class="recent-prompt">{escape(shortened(run.prompt, 64))}</span>'
        f'<span class="muted">{escape(run.router)} · {plural(run.tokens, "token")} · '
        f'<time title="{run.created_at:%Y-%m-%d %H:%M:%S} UTC">{age(run.created_at)}</time></span></button>'
        for run in runs
    )
    return f'<div class="recents">{rows}</div>'
