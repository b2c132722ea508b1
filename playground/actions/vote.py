"""Vote, undo, give a reason, and read the votes again. A vote is on disk before a function here returns."""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from playground.actions import identity
from playground.actions.compare import OpenComparison
from playground.core.fold import ViewState, fold_all
from playground.core.preferences import Verdict
from playground.core.records import LabelRow
from playground.errors import InvalidRequest
from playground.store.label_views import current_labels
from playground.store.labels import add_rationale, undo, vote
from playground.store.people import labeller
from playground.store.runs import load_events

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

STORE_SECONDS = 20.0
READ_AT_MOST = 5000
REASONS = ("more correct", "clearer", "shorter", "safer", "better style", "follows the request")
KEYS = {verdict.key: verdict for verdict in Verdict}
CHOICES = tuple(dict.fromkeys(verdict.choice for verdict in Verdict))


def read_verdict(key: object) -> Verdict:
    """Return the verdict of a key (`1` … `7`, `0`, `s`) or of a choice (`a`, `b`, `tie`, `bad`, `skip`).

    Raise InvalidRequest for anything else.
    """
    text = str(key or "").strip().lower()
    if text in KEYS:
        return KEYS[text]
    if text in CHOICES:
        return Verdict.of(text, None)
    raise InvalidRequest(f"No verdict is called {text[:20]!r}.", f"Choose one of: {', '.join((*KEYS, *CHOICES))}.")


def judge(runtime: "Runtime", comparison: OpenComparison, verdict: Verdict, handle: str) -> str:
    """Store the verdict and return the label's id. A second press for the same showing gives the first label.

    Raise InvalidRequest for a failed side or a comparison that is not stored in time.
    """
    seen = [len(state.tokens) for state in comparison.states]
    comparison.voted.set()
    if not comparison.done.wait(STORE_SECONDS) or not comparison.comparison_id:
        raise InvalidRequest("This comparison cannot be judged.", "Start the next one.")
    lead_ms = int(1000 * (time.monotonic() - comparison.began))
    with runtime.database.write() as session:
        comparison.label_id = vote(
            session,
            comparison.comparison_id,
            verdict,
            labeller_id=labeller(session, handle),
            client_token=f"{comparison.token}:{comparison.votes}",
            revealed_before=comparison.is_revealed,
            lead_ms=lead_ms,
            source_detail={"tokens_seen": seen},
        )
    comparison.is_revealed = True
    return comparison.label_id


def take_back(runtime: "Runtime", comparison: OpenComparison, handle: str) -> None:
    """Undo the vote on an open comparison. Raise InvalidRequest when there is none."""
    if not comparison.label_id:
        raise InvalidRequest("There is no vote to take back.", "Vote first.")
    undo_label(runtime, comparison.label_id, handle, token=f"{comparison.token}:undo{comparison.votes}")
    comparison.label_id = ""
    comparison.votes += 1


def undo_label(runtime: "Runtime", label_id: str, handle: str, *, token: str = "") -> str:
    """Take back a vote of this visitor. Return the id of the new row. Raise InvalidRequest, NotPermitted."""
    with runtime.database.write() as session:
        who = labeller(session, handle)
        return undo(session, label_id, labeller_id=who, client_token=token or secrets.token_urlsafe(12))


def explain(runtime: "Runtime", label_id: str, text: str, tags: Sequence[str]) -> None:
    """Store the reason of a vote. Raise InvalidRequest for a vote that is not in force or a text that is too long."""
    if not label_id:
        raise InvalidRequest("There is no vote to explain.", "Vote first.")
    with runtime.database.write() as session:
        if not current_labels(session, label_id=label_id):
            raise InvalidRequest("This vote was taken back or changed.", "Vote again, then say why.")
        add_rationale(session, label_id, text.strip(), [tag for tag in tags if tag in REASONS])


def client_vote(
    runtime: "Runtime", comparison_id: str, verdict: str, *, handle: str, client_token: str
) -> dict[str, Any]:
    """Store the vote of a client, then return who answered. Raise InvalidRequest."""
    who = handle if identity.HANDLE.match(handle) else identity.new_handle()
    wanted = read_verdict(verdict)
    with runtime.database.write() as session:
        label_id = vote(
            session,
            comparison_id,
            wanted,
            labeller_id=labeller(session, who),
            client_token=client_token or secrets.token_urlsafe(12),
        )
    return {"label_id": label_id, "saved": True, "labeller": who, **_reveal(runtime, label_id, wanted)}


def _reveal(runtime: "Runtime", label_id: str, verdict: Verdict) -> dict[str, Any]:
    with runtime.database.read() as session:
        rows = current_labels(session, label_id=label_id)
    if not rows:
        return {"verdict": verdict.text}
    sides = {
        letter: {"expert": side.expert, "router": side.router, "version": side.version, "run_id": side.run_id}
        for letter, side in zip("ab", rows[0].shown_sides, strict=True)
    }
    return {"verdict": verdict.text, **sides}


# --- reading votes again --------------------------------------------------------------------------------------------


def labeller_of(runtime: "Runtime", handle: str) -> str:
    """Return the id of this visitor in the votes. Make it when it is not there."""
    with runtime.database.write() as session:
        return labeller(session, handle)


def own_labels(runtime: "Runtime", handle: str, limit: int = 10) -> list[LabelRow]:
    """Return the newest votes in force of this visitor."""
    who = labeller_of(runtime, handle)
    with runtime.database.read() as session:
        return current_labels(session, labeller_id=who, limit=limit)


def newest_labels(runtime: "Runtime", limit: int = READ_AT_MOST) -> list[LabelRow]:
    """Return the newest votes in force of everybody, at most 5,000."""
    with runtime.database.read() as session:
        return current_labels(session, limit=max(1, min(int(limit), READ_AT_MOST)))


def filtered(rows: Sequence[LabelRow], filters: Mapping[str, Any]) -> list[LabelRow]:
    """Return the rows that pass all `filters`.

    `verdict` is a choice, `source` a source, `expert` is on either side, `text` is in the prompt. "all" or an empty
    value lets every row pass.
    """
    wanted = {name: str(filters.get(name) or "all") for name in ("verdict", "source", "expert")}
    text = str(filters.get("text") or "").strip().lower()
    return [
        row
        for row in rows
        if wanted["verdict"] in ("all", row.shown_verdict.choice)
        and wanted["source"] in ("all", row.source)
        and wanted["expert"] in ("all", row.a.expert, row.b.expert)
        and (not text or text in row.prompt.lower())
    ]


def reopen(runtime: "Runtime", label_id: str, handle: str) -> tuple[OpenComparison, LabelRow, bool]:
    """Return the comparison of a stored label as an open one, the label, and whether it is the visitor's own.

    Raise InvalidRequest for an unknown label.
    """
    mine = labeller_of(runtime, handle)
    with runtime.database.read() as session:
        rows = current_labels(session, label_id=label_id)
        if not rows:
            raise InvalidRequest("This vote was taken back or changed.", "Reload the list.")
        row = rows[0]
        states: list[ViewState] = [fold_all(load_events(session, side.run_id)) for side in row.shown_sides]
    is_own = row.labeller_id == mine
    opened = OpenComparison(secrets.token_urlsafe(16), row.prompt, (), row.selection, row.pair_propensity, states)
    opened.comparison_id, opened.is_revealed = row.comparison_id, True
    opened.label_id = row.label_id if is_own else ""
    opened.done.set()
    return opened, row, is_own
