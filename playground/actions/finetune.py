"""Fine-tune, promote and roll back: one implementation for the page, its endpoints and the command line.

The page imports this before torch, so whatever needs torch is imported where it is used.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from playground.actions.identity import require_admin
from playground.core.rates import Rate
from playground.core.values import Pool
from playground.errors import InvalidRequest, TooOften
from playground.experts.catalogue import load_catalogue
from playground.learn.labels.metrics import stored_metrics
from playground.learn.labels.options import LabelObjectiveOptions
from playground.settings import Settings
from playground.store import versions as rows
from playground.store.label_views import count_usable, labelled_pairs
from playground.store.tables import TrainingRunRow

if TYPE_CHECKING:
    from playground.encode.encoder import Encoder
    from playground.learn.labels.fitting import FitProgress
    from playground.learn.labels.metrics import BeforeAfter
    from playground.learn.labels.objective import LabelObjective
    from playground.learn.labels.trainer import LabelTraining, Lesson, RoutingChange, Taught
    from playground.serving.runtime import Runtime
    from playground.serving.versions import Versions
    from playground.store.versions import VersionInfo

DEFAULT_OBJECTIVE = "dpo"
DRAFTS_SECONDS = 3600.0
DRAFTS_OF_ALL = 4  # times what one visitor can make; each draft is kept for ever
EVERYBODY = "everybody"
_drafts = Rate(math.inf, DRAFTS_SECONDS)  # the setting has the limit
WHILE_LOADING = [("Direct preference (DPO)", DEFAULT_OBJECTIVE)]


@dataclass(frozen=True, eq=False)
class Teaching:
    """Hold what a fine-tune needs of the program around it. `load_encoder` is called once a router can be taught.

    `address` is the network address of a stranger, who can make `max_drafts` in an hour. It is empty for anybody else.
    """

    versions: "Versions"
    pool: Pool
    load_encoder: "Callable[[], Encoder]"
    address: str = ""
    max_drafts: int = 0

    def require_turn(self) -> None:
        """Raise TooOften when strangers have made too many drafts lately, this one or all of them."""
        if not self.address:
            return
        now, most = time.monotonic(), self.max_drafts
        own = _drafts.wait(self.address, now, most=most)
        wait = max(own, _drafts.wait(EVERYBODY, now, most=most * DRAFTS_OF_ALL))
        if wait:
            raise TooOften("Many drafts were made here in the last hour.", f"Try again in {math.ceil(wait / 60)} min.")

    def count_draft(self) -> None:
        """Note that a draft was made."""
        if self.address:
            for key in (self.address, EVERYBODY):
                _drafts.spend(key, time.monotonic())


@dataclass(frozen=True)
class LabelCount:
    """Count what there is to learn from: usable votes, their prompts and people, and the votes that are skipped."""

    labels: int
    prompts: int
    people: int
    skipped: int


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


def teaching_of(runtime: "Runtime", *, address: str = "") -> Teaching:
    """Return what a fine-tune needs of the page's runtime. `address` is that of the visitor."""
    settings = runtime.settings
    stranger = address if settings.is_public else ""
    return Teaching(runtime.versions, runtime.pool, lambda: runtime.encoder, stranger, settings.max_drafts)


def teaching_without_model(versions: "Versions", settings: Settings) -> Teaching:
    """Return what a fine-tune needs where no language model is loaded, as on the command line."""

    def load_encoder() -> "Encoder":
        from playground.encode.encoder import Encoder  # noqa: PLC0415  (imports torch)

        return Encoder(settings)

    return Teaching(versions, load_catalogue(settings.experts_dir, settings.added_dir), load_encoder)


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
    from playground.learn.labels.objective import LABEL_OBJECTIVES  # noqa: PLC0415  (both import torch)
    from playground.learn.labels.trainer import begin_training, require_teachable  # noqa: PLC0415
    from playground.routers.base import ROUTERS  # noqa: PLC0415

    teaching.require_turn()
    require_teachable(ROUTERS.get(router))
    kind = LABEL_OBJECTIVES.get(objective)
    chosen = kind(kind.Options.of(options))
    parent, parent_id = teaching.versions.load(router)
    encoder = teaching.load_encoder()
    training = begin_training(parent, gather(teaching, encoder))
    job = FineTuneJob(teaching, training, chosen, parent_id, note[:200], f"{encoder.name}@{encoder.revision}")
    yield from job.run()


def gather(teaching: Teaching, encoder: "Encoder") -> "Lesson":
    """Return what a fine-tune learns from and is judged by: labels of people, ready experts, example prompts.

    Embeds each labelled prompt once: about 350 prompts a second on two cores, less those the encoder remembers.
    """
    from playground.encode.base import describe  # noqa: PLC0415  (the next two import torch)
    from playground.learn.labels import dataset  # noqa: PLC0415
    from playground.learn.labels.trainer import Lesson  # noqa: PLC0415
    from playground.routers.examples import load_examples  # noqa: PLC0415

    usable = Pool(tuple(expert for expert in teaching.pool.experts if expert.ready))
    with teaching.versions.database.read() as session:
        pairs = labelled_pairs(session)
    examples = load_examples()
    probes = [example.prompt for example in examples if example.probe]
    return Lesson(
        labels=dataset.build(pairs, encoder.encode),
        pool=usable,
        descriptors=describe(encoder, usable),
        probes=dataset.Probes(tuple(probes), encoder.encode(probes)),
        anchors=encoder.encode([example.prompt for example in examples if not example.probe]),
    )


@dataclass(frozen=True, eq=False)
class FineTuneJob:
    """Run one fine-tune and store its traces: the run, the labels it used, the version and its figures."""

    teaching: Teaching
    training: "LabelTraining"
    objective: "LabelObjective"
    parent_id: str
    note: str = ""
    encoder: str = ""

    def run(self) -> "Iterator[FitProgress | FineTuned]":
        """Yield progress and, last, the draft. Closing it before that marks the run cancelled."""
        from playground.learn.labels.trainer import Taught, train  # noqa: PLC0415  (imports torch)

        run = self._start()
        status, version = "failed", None
        try:
            for step in train(self.training, self.objective):
                if isinstance(step, Taught):
                    result = self._keep(step, run)
                    self.teaching.count_draft()
                    status, version = "done", result.version
                    yield result
                else:
                    yield step
        except GeneratorExit:
            status = "done" if version else "cancelled"
            raise
        finally:
            log = "" if status != "failed" else str(sys.exception() or "it ended without a result")
            with self.teaching.versions.database.write() as session:
                rows.end_training(session, run, status=status, version=version, log=log)

    def _start(self) -> str:
        """Return the id of the stored run, with every label's part in it."""
        from playground.learn.labels.dataset import SALT  # noqa: PLC0415  (imports torch)

        kept = self.training.kept
        row = TrainingRunRow(
            router=self.training.parent.spec.name,
            parent_version=self.parent_id,
            method=self.objective.spec.name,
            config=self.objective.options.model_dump(),
            label_set_hash=self.training.labels_hash,
            n_labels=len(kept),
            split_salt=SALT,
        )
        uses = [
            rows.LabelUse(label_id=pair.label_id, split=part, weight=pair.weight, target=pair.target)
            for pair, part in zip(kept.pairs, self.training.parts, strict=True)
        ]
        with self.teaching.versions.database.write() as session:
            run = rows.start_training(session, row)
            rows.add_training_labels(session, run, uses)
        return run

    def _keep(self, taught: "Taught", run: str) -> FineTuned:
        """Keep the policy as a draft version with its figures."""
        from playground.learn.labels.dataset import label_set_hash  # noqa: PLC0415  (imports torch)
        from playground.learn.labels.metrics import as_metrics  # noqa: PLC0415

        training, figures = self.training, as_metrics(taught.metrics)
        summary = {"kl": taught.kl, "moved": taught.moved, "probes": taught.probes, "beta_in_force": taught.beta}
        version = self.teaching.versions.create(
            taught.policy,
            parent=self.parent_id,
            metrics={**figures, **summary},
            labels_hash=training.labels_hash,
            note=self.note or f"{self.objective.spec.title} on {len(training.kept)} labels",
            config={"objective": self.objective.spec.name, "options": self.objective.options.model_dump()},
            encoder=self.encoder,
            training_run=run,
        )
        with self.teaching.versions.database.write() as session:
            rows.add_evaluation(
                session,
                version,
                against=self.parent_id,
                set_name="held-out labels",
                set_hash=label_set_hash(training.test.pairs),
                metrics=figures,
            )
        return FineTuned(
            version=version,
            parent=self.parent_id,
            router=training.parent.spec.name,
            metrics=taught.metrics,
            changed=taught.changed,
            moved=taught.moved,
            probes=taught.probes,
            kl=taught.kl,
            beta=taught.beta,
            counts=training.counts,
            warnings=taught.warnings,
        )


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
