"""Hold how a fine-tune ends, as values and as JSON: the database keeps the JSON, so every page shows the same."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from playground.learn.labels.fitting import FitProgress
    from playground.learn.labels.metrics import BeforeAfter
    from playground.learn.labels.trainer import RoutingChange


@dataclass(frozen=True, eq=False)
class FineTuned:
    """Hold the end of a fine-tune: a draft version, and what it does differently.

    `metrics` maps label_accuracy, ranking_accuracy and log_loss to before, after and gain on the held-out labels. `kl`
    is the mean change in nats over the probes. `beta` is the strength in force once that change was capped. `counts`
    says how every label was used. `moved` counts the `probes` whose highest weight went to another expert.
    """

    version: str
    parent: str
    router: str
    metrics: "dict[str, BeforeAfter]"
    changed: "tuple[RoutingChange, ...]"
    moved: int
    probes: int
    kl: float
    beta: float
    counts: dict[str, int]
    warnings: tuple[str, ...] = field(default_factory=tuple)


def as_json_object(result: FineTuned) -> dict[str, Any]:
    """Return the outcome as JSON-ready values: what the endpoint returns and `finetune --json` prints."""
    return {
        "version": result.version,
        "parent": result.parent,
        "router": result.router,
        "metrics": {name: metric.as_dict() for name, metric in result.metrics.items()},
        "kl": result.kl,
        "beta": result.beta,
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


def outcome_of(stored: Mapping[str, Any]) -> FineTuned | None:
    """Return the outcome that `as_json_object` made. Return None for an empty one."""

    from playground.learn.labels.metrics import stored_metrics  # noqa: PLC0415
    from playground.learn.labels.trainer import RoutingChange  # noqa: PLC0415

    if not stored:
        return None
    changed = tuple(
        RoutingChange(
            prompt=one["prompt"],
            experts=tuple(one["before"]),
            before=np.array(list(one["before"].values())),
            after=np.array([one["after"][name] for name in one["before"]]),
            moved=one["moved"],
        )
        for one in stored["changed"]
    )
    plain = {name: stored[name] for name in ("version", "parent", "router", "moved", "probes", "kl", "beta")}
    metrics, counts = stored_metrics(stored["metrics"]), dict(stored["labels"])
    return FineTuned(**plain, metrics=metrics, changed=changed, counts=counts, warnings=tuple(stored["warnings"]))


def as_point(step: "FitProgress") -> dict[str, Any]:
    """Return a step as a point of the learning curve. A value that is not known is None."""
    values = {
        "training_loss": step.train_loss,
        "held_out_loss": step.valid_loss,
        "held_out_accuracy": step.valid_accuracy,
    }
    finite = {name: round(float(value), 5) if math.isfinite(value) else None for name, value in values.items()}
    return {"step": step.step, "steps": step.steps, **finite}
