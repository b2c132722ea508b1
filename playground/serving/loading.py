"""Load the heavy parts and connect them: base model, adapters, encoder, router versions, engine.

This module imports the model libraries, so others import it only when they load a model.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from playground.core.checklist import Checklist
from playground.core.values import Expert, Pool, RunRequest
from playground.encode.encoder import Encoder
from playground.errors import PlaygroundError
from playground.experts.adapters import adding
from playground.experts.adapters.cards import MAX_SOURCE, free_name
from playground.experts.catalogue import load_answerers, load_catalogue
from playground.model.adapters import Adapter, examine, read_adapter
from playground.model.artefacts import base_folder
from playground.model.bank import Bank
from playground.model.base import LanguageModel, choose_dtype, load_base
from playground.model.probe import references, support_of
from playground.model.trial import failing, try_adapter
from playground.model.worker import PROCESSORS, Decoder
from playground.routers.base import Beginning, Router
from playground.routers.examples import example_set, load_examples
from playground.serving.engine import Engine
from playground.serving.versions import Versions
from playground.settings import Settings
from playground.store.database import Database

log = logging.getLogger(__name__)
EMBEDDED_NAME = "SmolLM2-135M-Instruct"
Progress = Callable[[Any, int, int], None]  # (phase, done, total)
T = TypeVar("T")


class Call(Protocol):
    """Run a function where nothing else uses the model, like `Decoder.call`."""

    def __call__(self, function: Callable[[], T], /) -> T:
        """Return what the function returns."""


def at_once(function: Callable[[], T], /) -> T:
    """Run `function` here: the way to use a model that nobody else uses."""
    return function()


@dataclass(frozen=True, eq=False)
class Loaded:
    """Hold everything that needs a model library."""

    engine: Engine
    encoder: Encoder
    versions: Versions

    def close(self) -> None:
        """End the model's thread and the experts outside the model."""
        self.engine.decoder.close()
        for answerer in self.engine.answerers.values():
            answerer.close()


def load_everything(
    settings: Settings, database: Database, pool: Pool, progress: Progress | None = None, *, spare: int = 0
) -> Loaded:
    """Load all parts and connect them. Raise ArtefactError when a model cannot be had.

    The model gets all processors but `spare`, unless the settings say how many.
    """
    began = time.monotonic()
    base = load_model(settings, progress)
    expected = references(base) if settings.base_model else None  # the embedded model is known
    bank, pool = load_bank(base, add_configured(base, pool, settings))
    if expected is not None:
        base = replace(base, support=support_of(base, bank, expected))
    encoder = Encoder(settings)

    def beginning() -> Beginning:
        return Beginning(
            lambda: example_set(encoder, [example for example in load_examples() if not example.probe]),
            bank.names,
            base.layers,
            base.width,
        )

    versions = Versions(database, settings, beginning=beginning)
    engine = Engine(
        base,
        bank,
        decoder=Decoder(
            base,
            bank,
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            threads=settings.threads or max(1, PROCESSORS - spare),
        ),
        encoder=encoder,
        max_prompt_tokens=settings.max_prompt_tokens,
        pool=pool,
        answerers=load_answerers(),
        resolve=lambda request: resolve(versions, request),
        shadow=lambda run: versions.beside(run.router.spec.name, run.version),
    )
    log.info("ready seconds=%.1f experts=%s", time.monotonic() - began, len(pool))
    return Loaded(engine=engine, encoder=encoder, versions=versions)


def resolve(versions: Versions, request: RunRequest) -> tuple[Router, str]:
    """Return the router that `request` asks for, with its options set, and the id of its version."""
    return versions.load(request.router, request.version, request.options)


def load_model(settings: Settings, progress: Progress | None = None) -> LanguageModel:
    """Return the base model of the settings, fetched when needed, with threads set. Raise ArtefactError."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    folder = base_folder(settings, progress)
    if progress:
        progress("loading", 0, 0)
    local = Path(folder).is_dir()
    name = settings.base_model or EMBEDDED_NAME
    int8 = settings.dtype == "int8"
    return load_base(folder, choose_dtype(settings.dtype), int8=int8, name=name, local=local)


def load_bank(base: LanguageModel, pool: Pool) -> tuple[Bank, Pool]:
    """Return the bank of all adapters that fit the base, and the pool with the others marked and their reason given."""
    adapters, pool = read_adapters(base, pool)
    bank = Bank(base.model, int8=base.int8)
    bank.stack(adapters)
    return bank, pool


def read_adapters(
    base: LanguageModel, pool: Pool, *, tried: Collection[str] = (), call: Call = at_once
) -> tuple[list[Adapter], Pool]:
    """Return the adapters of `pool` that fit the base, in pool order, and the pool with the others marked not ready.

    They are tried on the base, through `call`, but for those named in `tried`.
    """
    found: dict[str, Adapter] = {}
    reasons: dict[str, str] = {}
    for expert in pool.experts:
        if expert.kind == "lora" and expert.ready:
            try:
                found[expert.name] = read_adapter(Path(expert.folder), expert.name, base.model)
            except PlaygroundError as error:
                reasons[expert.name] = str(error)
    new = [adapter for adapter in found.values() if adapter.name not in tried]
    for name, line in call(lambda: failing(base, new)).items():
        reasons[name] = f"{name}: {line.detail} {line.remedy}"
    for name, reason in reasons.items():
        log.warning("expert refused name=%s reason=%s", name, reason)
    experts = (
        replace(expert, ready=False, reason=reasons[expert.name]) if expert.name in reasons else expert
        for expert in pool.experts
    )
    return [adapter for name, adapter in found.items() if name not in reasons], Pool(tuple(experts))


def check_adapter(
    source: str | Sequence[Path], base: LanguageModel, pool: Pool, settings: Settings, *, call: Call = at_once
) -> adding.Candidate:
    """Fetch an adapter and check it. It is tried on the base through `call`. Nothing is added yet.

    Raise InvalidRequest, StorageError.
    """
    limit = settings.max_adapter_bytes

    def fits(folder: Path, name: str) -> Checklist:
        examined = examine(folder, name, base.model, base_name=base.name, limit_bytes=limit)
        if examined.adapter is None:
            return examined.checklist
        adapter = examined.adapter
        return examined.checklist + Checklist((call(lambda: try_adapter(base, adapter)),))

    return adding.check(source, pool=pool, added_dir=settings.added_dir, limit_bytes=limit, examine=fits)


def add_configured(base: LanguageModel, pool: Pool, settings: Settings) -> Pool:
    """Return the pool with the adapters that the setting `adapters` names.

    One that cannot be added is in the pool, not ready, with the reason. A source that was added before is not fetched
    again.
    """
    refused: list[Expert] = []
    for source in settings.adapter_sources:
        if source[:MAX_SOURCE] in {expert.source for expert in pool.experts}:
            continue
        title = source.rstrip("/").rpartition("/")[2][:60] or source[:60]
        try:
            candidate = check_adapter(source, base, pool, settings)
            try:
                candidate.checklist.require(title)
                adding.keep(candidate, candidate.card.model_copy(update={"source": source[:MAX_SOURCE]}), pool)
            finally:
                adding.discard(candidate)
            pool = load_catalogue(settings.experts_dir, settings.added_dir)
        except PlaygroundError as error:
            log.warning("adapter refused source=%s reason=%s", source, error.message)
            name = free_name(title, [*pool.names, *(expert.name for expert in refused)])
            about = "An adapter named in the setting PLAYGROUND_ADAPTERS."
            refused.append(Expert(name, "lora", title, about, "??", 9, ready=False, reason=str(error)))
    return Pool((*pool.experts, *refused))
