"""Fine-tune, promote and roll back: one implementation for the page, its endpoints and the command line.

The page imports this before torch, so whatever needs torch is imported where it is used.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playground.actions.finetune_job import FineTuneJob, JobState, end_job, job_state, start_job
from playground.actions.finetune_outcome import FineTuned
from playground.actions.identity import require_admin
from playground.actions.teaching import Teaching, teaching_of
from playground.errors import InvalidRequest
from playground.learn.labels.metrics import stored_metrics
from playground.learn.labels.options import LabelObjectiveOptions
from playground.store.label_views import count_usable

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress
    from playground.learn.labels.metrics import BeforeAfter
    from playground.serving.runtime import Runtime
    from playground.store.versions import VersionInfo

DEFAULT_OBJECTIVE = "dpo"
WHILE_LOADING = [("Direct preference (DPO)", DEFAULT_OBJECTIVE)]


@dataclass(frozen=True)
class LabelCount:
    """Count what there is to learn from: usable votes, their prompts and people, and the votes that are skipped."""

    labels: int
    prompts: int
    people: int
    skipped: int


def count_labels(runtime: "Runtime") -> LabelCount:
    """Return how many labels of people a fine-tune would read now."""
    with runtime.database.read() as session:
        return LabelCount(*count_usable(session))


def objectives(runtime: "Runtime") -> list[tuple[str, str]]:
    """Return (title, name) of every label objective, the default first. Only the default while models load."""
    if not runtime.is_ready:
        return WHILE_LOADING
    from playground.learn.labels.objective import LABEL_OBJECTIVES  # noqa: PLC0415  (imports torch)

    names = sorted(LABEL_OBJECTIVES, key=lambda name: name != DEFAULT_OBJECTIVE)
    return [(LABEL_OBJECTIVES.get(name).spec.title, name) for name in names]


def objective_line(runtime: "Runtime", name: str) -> str:
    """Return what an objective does, in one line. Empty while models load."""
    if not runtime.is_ready:
        return ""
    from playground.learn.labels.objective import LABEL_OBJECTIVES  # noqa: PLC0415  (imports torch)

    return LABEL_OBJECTIVES.get(name).spec.description


def option_controls(runtime: "Runtime", name: str) -> list[dict[str, Any]]:
    """Return what draws the options of an objective. While models load, return what all objectives have."""
    if not runtime.is_ready:
        return LabelObjectiveOptions.controls()
    from playground.learn.labels.objective import LABEL_OBJECTIVES  # noqa: PLC0415  (imports torch)

    return LABEL_OBJECTIVES.get(name).Options.controls()


def trainable(runtime: "Runtime") -> list[tuple[str, str]]:
    """Return (title, name) of every ready router that learns from labels. Empty while models load."""
    if not runtime.is_ready:
        return []
    from playground.routers.base import ROUTERS  # noqa: PLC0415  (imports torch)

    infos = [info for info in runtime.routers() if info.ready and info.name in ROUTERS]
    return [(info.title, info.name) for info in infos if ROUTERS.get(info.name).learns_from_labels]


def open_job(
    teaching: Teaching,
    router: str,
    *,
    objective: str,
    options: Mapping[str, Any] | None = None,
    note: str = "",
    resumes: bool = False,
) -> FineTuneJob:
    """Return a fine-tune of the version in force, not yet begun.

    Raise InvalidRequest for a router that does not learn from labels and for an unknown objective or option. Raise
    TooOften for a stranger who made many drafts lately.
    """
    from playground.learn.labels.objective import LABEL_OBJECTIVES  # noqa: PLC0415  (both import torch)
    from playground.learn.labels.trainer import require_teachable  # noqa: PLC0415
    from playground.routers.base import ROUTERS  # noqa: PLC0415

    teaching.require_turn()
    require_teachable(ROUTERS.get(router))
    kind = LABEL_OBJECTIVES.get(objective)
    chosen = kind(kind.Options.of(options))
    parent, parent_id = teaching.versions.load(router)
    return FineTuneJob(teaching, parent, parent_id, chosen, note[:200], resumes)


def resumed_job(teaching: Teaching, router: str) -> FineTuneJob:
    """Return a fine-tune that goes on where the last one of `router` stopped. Raise InvalidRequest when none did."""
    last = job_state(teaching.versions, router)
    if last is None or not last.can_resume:
        raise InvalidRequest("No fine-tune of this router was stopped.", "Begin a new one.")
    info = last.info
    return open_job(teaching, router, objective=info.objective, options=info.options, note=info.note, resumes=True)


def fine_tune(
    teaching: Teaching,
    router: str,
    *,
    objective: str = DEFAULT_OBJECTIVE,
    options: Mapping[str, Any] | None = None,
    note: str = "",
) -> "Iterator[FitProgress | FineTuned]":
    """Teach the router's version in force from the labels of people. Yield progress and, last, the new draft.

    Closing the iterator cancels. Raise InvalidRequest for a router that does not learn from labels, an unknown
    objective or option, too few labels, and while another fine-tune of the router runs. Raise TooOften for a stranger
    who made many drafts lately.
    """
    yield from open_job(teaching, router, objective=objective, options=options, note=note).run()


def begin(
    runtime: "Runtime",
    router: str,
    *,
    objective: str = DEFAULT_OBJECTIVE,
    options: Mapping[str, Any] | None = None,
    address: str = "",
) -> JobState:
    """Begin a fine-tune that goes on when the page is left, and return it. Raise what `fine_tune` raises."""
    teaching = teaching_of(runtime, address=address)
    started = open_job(teaching, router, objective=objective, options=options)
    start_job(started)
    return _begun(runtime, router)


def resume(runtime: "Runtime", router: str, *, address: str = "") -> JobState:
    """Go on where the last fine-tune of `router` stopped. Raise InvalidRequest when none did."""
    start_job(resumed_job(teaching_of(runtime, address=address), router))
    return _begun(runtime, router)


def _begun(runtime: "Runtime", router: str) -> JobState:
    found = job_state(runtime.versions, router)
    if found is None:
        raise InvalidRequest("The fine-tune was not stored.", "Try again.")
    return found


def job(runtime: "Runtime", router: str) -> JobState | None:
    """Return the last fine-tune of `router`, whoever began it. Return None while models load, or without one."""
    return job_state(runtime.versions, router) if runtime.is_ready else None


def end(runtime: "Runtime", router: str, own: str, password: str, *, address: str = "") -> JobState | None:
    """Cancel the running fine-tune of `router`, or clear a stopped one. Return None when nothing runs.

    `own` is the id of the job that the caller began. Where strangers come, only that one can be ended without the
    admin password. Raise NotPermitted.
    """
    found = job(runtime, router)
    if found is None or found.state not in ("running", "stopped"):
        return None
    if runtime.settings.is_public and found.info.id != own:
        require_admin(runtime.settings, password, address=address)
    return end_job(runtime.versions, router)


def figures_of(version: "VersionInfo") -> "dict[str, BeforeAfter]":
    """Return the stored figures of a version before and after its fine-tune. Empty for one that was not fine-tuned."""
    return stored_metrics(version.metrics)


def promote(runtime: "Runtime", version: str, password: str, *, reason: str = "", address: str = "") -> str:
    """Put `version` in force and return its id. Raise NotPermitted, InvalidRequest."""
    require_admin(runtime.settings, password, address=address)
    if not version:
        raise InvalidRequest("There is no version to promote.", "Fine-tune first, or choose one from the history.")
    return runtime.versions.promote(str(version)[:64], by="admin", reason=reason[:200])


def roll_back(runtime: "Runtime", router: str, password: str, *, address: str = "") -> str:
    """Put the previous version in force again and return its id. Raise NotPermitted, InvalidRequest without one."""
    require_admin(runtime.settings, password, address=address)
    return runtime.versions.rollback(str(router)[:60], by="admin")


def history(runtime: "Runtime", router: str) -> "list[VersionInfo]":
    """Return every version of `router`, newest first. Empty while models load."""
    return runtime.versions.history(router) if runtime.is_ready else []
