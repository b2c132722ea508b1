"""A fine-tune, a promotion and a rollback as the page and its endpoints do them; nothing is drawn here."""

import importlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playground.actions.identity import require_admin
from playground.errors import InvalidRequest
from playground.store.label_views import current_labels

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress
    from playground.learn.labels.trainer import FineTuned
    from playground.serving.runtime import Runtime
    from playground.store.versions import VersionInfo

DEFAULT_OBJECTIVES = [("Direct preference (DPO)", "dpo")]


@dataclass(frozen=True)
class LabelCount:
    """What there is to learn from: votes that say something, on how many prompts, by how many people."""

    labels: int
    prompts: int
    people: int
    skipped: int


def count_labels(runtime: "Runtime") -> LabelCount:
    """The labels of people that a fine-tune would read now."""
    with runtime.database.read() as session:
        rows = current_labels(session, source="human")
    telling = [row for row in rows if row.verdict.target is not None]
    people = Counter(row.labeller_id for row in telling)
    return LabelCount(len(telling), len({row.prompt for row in telling}), len(people), len(rows) - len(telling))


def objectives(runtime: "Runtime") -> list[tuple[str, str]]:
    """(title, name) of every objective; the default alone while models load, because listing them imports torch."""
    if not runtime.is_ready:
        return DEFAULT_OBJECTIVES
    registry = importlib.import_module("playground.learn.labels.trainer").OBJECTIVES
    return [(registry.get(name).spec.title, name) for name in registry]


def objective_line(runtime: "Runtime", name: str) -> str:
    """What an objective does, in one line; empty while models load."""
    if not runtime.is_ready:
        return ""
    return str(importlib.import_module("playground.learn.labels.trainer").OBJECTIVES.get(name).spec.description)


def trainable(runtime: "Runtime") -> list[tuple[str, str]]:
    """(title, name) of every ready router that decides from the prompt; those that cannot learn say so when asked."""
    infos = [info for info in runtime.routers() if info.level == "prompt" and info.ready]
    return [(info.title, info.name) for info in infos if info.trained_from not in ("", "nothing")]


def fine_tuning(
    runtime: "Runtime", router: str, objective: str, *, beta: float | None = None, note: str = ""
) -> "Iterator[FitProgress | FineTuned]":
    """Progress, then the new draft. Closing it cancels. Raises InvalidRequest when there is nothing to learn from."""
    # torch and the fitting code: loaded by the time the models are, never before the page is
    preparation = importlib.import_module("playground.learn.labels.preparation")
    trainer = importlib.import_module("playground.learn.labels.trainer")
    encoder = runtime.encoder
    ready = preparation.prepare(
        runtime.versions, encoder, runtime.pool, encoder_name=f"{encoder.name}@{encoder.revision}"
    )
    options = {} if beta is None else {"beta": float(beta)}
    return trainer.fine_tune(
        ready.parts, ready.labels, ready.probes, router=router, objective=objective, options=options, note=note[:200]
    )


def result_of(step: Any) -> "FineTuned | None":
    """The end of a fine-tune, told apart from its progress without importing the trainer."""
    return step if hasattr(step, "changed") else None


def promote(runtime: "Runtime", version: str, password: str, *, reason: str = "") -> str:
    """Put `version` in force. Raises NotPermitted, InvalidRequest."""
    require_admin(runtime.settings, password)
    if not version:
        raise InvalidRequest("There is no version to promote.", "Fine-tune first, or choose one from the history.")
    return runtime.versions.promote(str(version)[:64], by="admin", reason=reason[:200])


def roll_back(runtime: "Runtime", router: str, password: str) -> str:
    """Put the version before in force again. Raises NotPermitted, InvalidRequest when there is none."""
    require_admin(runtime.settings, password)
    return runtime.versions.rollback(str(router)[:60], by="admin")


def history(runtime: "Runtime", router: str) -> "list[VersionInfo]":
    """Every version of `router`, newest first; none while models load."""
    return runtime.versions.history(router) if runtime.is_ready else []


def as_json_object(result: "FineTuned") -> dict[str, Any]:
    """The outcome as JSON-ready values, the same fields as the command line prints."""
    return {
        "version": result.version,
        "parent": result.parent,
        "router": result.router,
        "metrics": {name: metric.as_dict() for name, metric in result.metrics.items()},
        "kl": result.kl,
        "moved": result.moved,
        "probes": result.probes,
        "labels": dict(result.counts),
        "warnings": list(result.warnings),
        "changed": [
            {
                "prompt": change.prompt,
                "moved": change.moved,
                "before": dict(zip(change.experts, map(float, change.before), strict=True)),
                "after": dict(zip(change.experts, map(float, change.after), strict=True)),
            }
            for change in result.changed
        ],
    }
