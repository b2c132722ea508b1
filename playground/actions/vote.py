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
from playground.errors import InvalidRequest, NotPermitted
from playground.store.label_views import current_labels, vote_of
from playground.store.labels import acts_of, add_rationale, has_votes, load_comparison, undo, vote
from playground.store.people import known_labeller, labeller, unnamed_handle
from playground.store.prompts import storable
from playground.store.runs import load_events

if TYPE_CHECKING:
    from sqlmodel import Session

    from playground.serving.runtime import Runtime

STORE_SECONDS = 20.0
READ_AT_MOST = 5000
REASONS = ("more correct", "clearer", "shorter", "safer", "better style", "follows the request")
SKIP_REASONS = ("not my subject", "both are unclear", "too long to read", "I do not want to read this")
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
    lead_ms = int(1000 * (time.monotonic() - comparison.began)) if comparison.requests else 0
    with runtime.database.write() as session:
        comparison.label_id = vote(
            session,
            comparison.comparison_id,
            verdict,
            labeller_id=labeller(session, handle),
            client_token=f"{comparison.id}:{comparison.votes}",
            revealed_before=comparison.is_revealed or _may_be_known(runtime, session, comparison.comparison_id),
            lead_ms=lead_ms,
            source_detail={"tokens_seen": seen},
        )
    comparison.is_revealed = True
    return comparison.label_id


def judge_late(runtime: "Runtime", comparison_id: str, verdict: Verdict, handle: str, *, votes: int) -> str:
    """Store a verdict that waited in a browser, and return the label's id. Sent twice, or sent in time, it counts once.

    `votes` is how often the page had voted on this comparison before. Raise InvalidRequest for an unknown comparison.
    """
    comparison_id = storable(comparison_id)
    with runtime.database.write() as session:
        return vote(
            session,
            comparison_id,
            verdict,
            labeller_id=labeller(session, handle),
            client_token=f"{comparison_id}:{votes}",
            revealed_before=votes > 0 or _may_be_known(runtime, session, comparison_id),
            source_detail={"sent_late": True},
        )


def take_back(runtime: "Runtime", comparison: OpenComparison, handle: str) -> None:
    """Undo the vote on an open comparison. Raise InvalidRequest when there is none."""
    if not comparison.label_id:
        raise InvalidRequest("There is no vote to take back.", "Vote first.")
    undo_label(runtime, comparison.label_id, handle, token=f"{comparison.id}:undo{comparison.votes}")
    comparison.label_id = ""
    comparison.votes += 1


def undo_label(runtime: "Runtime", label_id: str, handle: str, *, token: str = "") -> str:
    """Take back a vote of this visitor. Return the id of the new row. Raise InvalidRequest, NotPermitted."""
    with runtime.database.write() as session:
        who = known_labeller(session, handle) or ""
        return undo(session, storable(str(label_id)), labeller_id=who, client_token=token or secrets.token_urlsafe(12))


def explain(runtime: "Runtime", label_id: str, text: str, tags: Sequence[str]) -> None:
    """Store the reason of a vote. Raise InvalidRequest for a vote that is not in force or a text that is too long."""
    if not label_id:
        raise InvalidRequest("There is no vote to explain.", "Vote first.")
    with runtime.database.write() as session:
        if not current_labels(session, label_id=label_id):
            raise InvalidRequest("This vote was taken back or changed.", "Vote again, then say why.")
        add_rationale(session, label_id, text.strip(), [tag for tag in tags if tag in (*REASONS, *SKIP_REASONS)])


def client_vote(
    runtime: "Runtime", comparison_id: str, verdict: str, *, handle: str, client_token: str, address: str = ""
) -> dict[str, Any]:
    """Store the vote of a client, then return what is stored and who answered. Raise InvalidRequest.

    Clients at one network `address` that name no labeller are one labeller.
    """
    wanted, comparison_id = read_verdict(verdict), storable(str(comparison_id or ""))
    named = identity.named_handle(handle) if handle else ""
    with runtime.database.write() as session:
        who = named or unnamed_handle(session, address)
        label_id = vote(
            session,
            comparison_id,
            wanted,
            labeller_id=labeller(session, who),
            client_token=storable(str(client_token or secrets.token_urlsafe(12))),
            revealed_before=_may_be_known(runtime, session, comparison_id),
        )
    return {"label_id": label_id, "saved": True, "labeller": who, **_stored(runtime, label_id, wanted)}


def _may_be_known(runtime: "Runtime", session: "Session", comparison_id: str) -> bool:
    """Return whether anybody could have read who answered: a vote of another is listed with both experts."""
    return runtime.settings.shows_labels and has_votes(session, comparison_id)


def _stored(runtime: "Runtime", label_id: str, asked: Verdict) -> dict[str, Any]:
    """Return the stored verdict, whether it counts now, and who answered. `note` says what differs from `asked`."""
    with runtime.database.read() as session:
        row = vote_of(session, label_id)
        in_force = bool(current_labels(session, label_id=label_id))
    sides = {
        letter: {"expert": side.expert, "router": side.router, "version": side.version, "run_id": side.run_id}
        for letter, side in zip("ab", row.shown_sides, strict=True)
    }
    note = ""
    if row.shown_verdict is not asked:
        note = f"This token stored another verdict before: {row.shown_verdict.text}. To change it, use another token."
    elif not in_force:
        note = "This vote was stored, and then taken back or replaced. To vote again, use another token."
    return {"verdict": row.shown_verdict.text, "in_force": in_force, "note": note, **sides}


# --- reading votes again --------------------------------------------------------------------------------------------


def labeller_of(runtime: "Runtime", handle: str) -> str:
    """Return the id of this visitor in the votes. It is empty for somebody who never voted."""
    with runtime.database.read() as session:
        return known_labeller(session, handle) or ""


def own_labels(runtime: "Runtime", handle: str, limit: int = 10) -> list[LabelRow]:
    """Return the newest votes in force of this visitor."""
    with runtime.database.read() as session:
        who = known_labeller(session, handle)
        return current_labels(session, labeller_id=who, limit=limit) if who else []


def newest_labels(runtime: "Runtime", handle: str, limit: int = READ_AT_MOST) -> list[LabelRow]:
    """Return the newest votes in force that this visitor may read, at most 5,000: everybody's, or only their own."""
    most = max(1, min(limit, READ_AT_MOST))
    if not runtime.settings.shows_labels:
        return own_labels(runtime, handle, most)
    with runtime.database.read() as session:
        return current_labels(session, limit=most)


def client_labels(
    runtime: "Runtime", limit: object, *, handle: str, password: str, address: str = ""
) -> list[LabelRow]:
    """Return the newest votes in force for a client: those of the labeller that it names, else everybody's.

    Raise NotPermitted when the host keeps everybody's closed and `password` is not the admin's, and InvalidRequest
    for a limit that is no number.
    """
    try:
        most = max(1, min(int(limit), READ_AT_MOST))  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRequest("The limit is not a number.", f"Give a number from 1 to {READ_AT_MOST}.") from error
    if handle:
        return own_labels(runtime, identity.named_handle(handle), most)
    if not runtime.settings.shows_labels and not identity.is_host(
        runtime.settings, str(password or ""), address=address
    ):
        raise NotPermitted(
            "The host of this page keeps the labels closed.",
            "Give your `labeller` to read your own. The host gives the admin password, or sets "
            "PLAYGROUND_PUBLIC_LABELS.",
        )
    with runtime.database.read() as session:
        return current_labels(session, limit=most)


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

    Raise InvalidRequest for an unknown label, NotPermitted for one that the visitor may not read.
    """
    with runtime.database.read() as session:
        rows = current_labels(session, label_id=storable(label_id))
        mine = known_labeller(session, handle)
    if not rows:
        raise InvalidRequest("This vote was taken back or changed.", "Reload the list.")
    row = rows[0]
    is_own = row.labeller_id == mine
    if not is_own and not runtime.settings.shows_labels:
        raise NotPermitted("The host of this page keeps other people's labels closed.", "Open one of your own.")
    opened = from_store(runtime, row.comparison_id, handle)
    opened.is_revealed = True
    return opened, row, is_own


def from_store(runtime: "Runtime", comparison_id: str, handle: str) -> OpenComparison:
    """Return a stored comparison as an open one. It is as blind for this visitor as it was.

    Raise InvalidRequest for an unknown one.
    """
    with runtime.database.read() as session:
        stored = load_comparison(session, storable(comparison_id))
        states: list[ViewState] = [fold_all(load_events(session, run)) for run in stored.runs]
        who = known_labeller(session, handle)
        votes = acts_of(session, stored.id, who) if who else 0
        own = current_labels(session, labeller_id=who, comparison_id=stored.id) if votes else []
    opened = OpenComparison(
        secrets.token_urlsafe(16), stored.prompt, (), stored.selection, stored.pair_propensity, states
    )
    opened.id = opened.comparison_id = stored.id
    opened.judged = stored.judged or ""
    opened.votes, opened.is_revealed = votes, votes > 0
    opened.label_id = own[0].label_id if own else ""
    opened.done.set()
    return opened
