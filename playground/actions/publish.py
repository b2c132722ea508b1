"""Push the labels to a data set on the Hugging Face Hub, with a card that is made from them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from playground.actions.database import opened
from playground.core.records import LabelRow
from playground.errors import InvalidRequest, PlaygroundError
from playground.exchange.base import format_of
from playground.exchange.card import FILES, card_text
from playground.settings import Settings
from playground.store.label_views import current_labels

REPO = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
LICENCE = re.compile(r"[a-z0-9.-]{2,40}")
Upload = Callable[[str, Mapping[str, bytes], bool], str]


class HubRefused(PlaygroundError):
    """Report that the Hub could not be reached, or refused."""

    status = 502


def dataset_files(rows: Sequence[LabelRow], *, title: str, licence: str) -> dict[str, bytes]:
    """Return the files of the data set by name, the card included."""
    files = {file: format_of(file).write(rows) for file in FILES.values()}
    return {"README.md": card_text(rows, title=title, licence=licence).encode(), **files}


def publish(
    settings: Settings, repo: str, licence: str, *, is_public: bool = False, upload: Upload | None = None
) -> tuple[str, int]:
    """Push people's labels in force to the data set `repo`; return (its address, how many labels).

    Raise InvalidRequest for an unusable name or licence and for no labels, HubRefused when the Hub says no.
    """
    if not REPO.fullmatch(repo):
        raise InvalidRequest(f"{repo[:80]!r} is no name of a data set.", "Write it as owner/name.")
    if not LICENCE.fullmatch(licence):
        raise InvalidRequest(f"{licence[:40]!r} is no licence.", "Give the Hub's id of one, such as cc-by-4.0.")
    with opened(settings) as database, database.read() as session:
        rows = current_labels(session, source="human", oldest_first=True)
    if not rows:
        raise InvalidRequest("There are no labels to push.", "Vote first.")
    files = dataset_files(rows, title=repo.split("/")[1], licence=licence)
    return (upload or push)(repo, files, is_public), len(rows)


def push(repo: str, files: Mapping[str, bytes], is_public: bool) -> str:
    """Write `files` to the data set in one commit, and return its address. The Hub's own log-in counts.

    A data set that is new is private unless `is_public`. Raise HubRefused.
    """
    from huggingface_hub import CommitOperationAdd, HfApi  # noqa: PLC0415  (half a second: only for a push)
    from huggingface_hub.errors import HTTPError  # noqa: PLC0415  (as above)

    api = HfApi()
    try:
        address = api.create_repo(repo, repo_type="dataset", private=not is_public, exist_ok=True)
        operations: list[Any] = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(repo, operations, commit_message="Add the labels", repo_type="dataset")
    except (HTTPError, OSError, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        raise refusal(repo, status) from error
    return str(address)


def refusal(repo: str, status: int | None) -> HubRefused:
    """Return what the Hub's answer means. `status` is None when nothing answered."""
    if status in (401, 403):
        return HubRefused(
            f"The Hub does not let you write to {repo}.", "Log in with `hf auth login`, by a token that may write."
        )
    if status is None:
        return HubRefused("The Hub could not be reached.", "Check the network and the log-in. Nothing was pushed.")
    return HubRefused(f"The Hub refused the data set {repo} with status {status}.", "Check its name, then try again.")
