"""Loads and connects the heavy parts: base, bank, encoder, tools, routers, engine. Reached only while loading."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from playground.core.checklist import Checklist
from playground.core.values import Expert, Pool, RouterInfo
from playground.encode.encoder import Encoder
from playground.errors import NotReady, PlaygroundError
from playground.experts.adapters import adding
from playground.experts.adapters.cards import Card, free_name
from playground.experts.base import Tool
from playground.experts.catalogue import load_answerers, load_catalogue
from playground.model.adapters import Adapter, examine, read_adapter
from playground.model.artefacts import base_folder
from playground.model.bank import Bank
from playground.model.base import LanguageModel, choose_dtype, load_base
from playground.model.worker import PROCESSORS, Decoder
from playground.routers.base import ROUTERS, GateRouter, Policy, Router
from playground.routers.library import shipped_figure
from playground.serving.engine import Engine
from playground.serving.versions import Versions
from playground.settings import Settings
from playground.store.database import Database

log = logging.getLogger(__name__)
EMBEDDED_NAME = "SmolLM2-135M-Instruct"
LEVELS = ("prompt", "gate", "controller")
NAMED_AT_MOST = 3


@dataclass(frozen=True, eq=False)
class Parts:
    """Everything that needs a model library."""

    engine: Engine
    encoder: Encoder
    versions: Versions
    settings: Settings
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def check_adapter(self, source: str | Sequence[Path]) -> adding.Candidate:
        """Bring an adapter here and look at it; nothing is added yet. Raises InvalidRequest, StorageError."""
        return check_adapter(source, self.engine.base, self.engine.pool, self.settings)

    def add_expert(self, candidate: adding.Candidate, card: Card) -> Expert:
        """Add a candidate that passed under `card`: the next run can use it, runs under way are not touched.

        Raises InvalidRequest when it did not pass or its name is taken, StorageError when the disk refuses.
        """
        with self._changing:
            adding.keep(candidate, card, self.engine.pool)
            found = load_catalogue(self.settings.experts_dir, self.settings.added_dir)
            added = found.experts[found.index(card.name)]
            refused = [expert for expert in self.engine.pool.experts if expert.kind == "lora" and not expert.folder]
            with ExitStack() as undo:
                undo.callback(adding.delete, added)
                self._restack(Pool((*found.experts, *refused)))
                undo.pop_all()
        log.info("expert added name=%s source=%s", added.name, added.source)
        return added

    def remove_expert(self, name: str, *, patience_s: float = 0.0) -> Expert:
        """Take an added expert out and delete its files.

        Waits up to `patience_s` for runs under way, which may use it, then raises NotReady. Raises InvalidRequest for
        an expert that shipped.
        """
        until = time.monotonic() + patience_s
        while True:
            try:
                with self._changing:
                    expert = adding.removable(self.engine.pool, name)
                    left = (other for other in self.engine.pool.experts if other.name != name)
                    self._restack(Pool(tuple(left)))
                    adding.delete(expert)
                log.info("expert removed name=%s", name)
                return expert
            except NotReady:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.2)

    def _restack(self, pool: Pool) -> None:
        """Give the engine the experts of `pool`; those it has keep their places, newcomers follow."""
        adapters, pool = read_adapters(self.engine.base, pool)
        place = {name: i for i, name in enumerate(self.engine.bank.names)}
        adapters.sort(key=lambda adapter: place.get(adapter.name, len(place)))
        self.engine.change_experts(adapters, pool)

    def describe_routers(self) -> list[RouterInfo]:
        """Every router with its state, by level and name; files that could not be read are there with the reason."""
        infos = [self._describe(name, ROUTERS.get(name)) for name in ROUTERS]
        infos.sort(key=lambda info: (LEVELS.index(info.level), info.title))
        for name, reason in ROUTERS.broken().items():
            infos.append(RouterInfo(name, name, "prompt", None, "", False, f"not available: {reason}", "", ""))
        return infos

    def _describe(self, name: str, kind: type[Router]) -> RouterInfo:
        spec = kind.spec
        version, reason, note = "", "", ""
        try:
            loaded, version = self.versions.load(name)
            if isinstance(loaded, GateRouter):
                loaded.check_model(self.engine.base.layers, self.engine.base.width)
            takes_any = isinstance(loaded, GateRouter) and type(loaded).gate_for is not GateRouter.gate_for
            if isinstance(loaded, GateRouter) and not takes_any:
                missing = set(loaded.experts) - set(self.engine.bank.names)
                reason = f"It needs the expert {sorted(missing)[0]}, which is not installed." if missing else ""
            if not takes_any and not reason:
                note = self._unknown(loaded)
        except PlaygroundError as error:
            reason = str(error)
        return RouterInfo(
            name=name,
            title=spec.title,
            level=spec.level,
            paper=spec.paper,
            trained_from=spec.trained_from,
            ready=not reason,
            reason=reason,
            figure=shipped_figure(name),
            version=version,
            note=note,
        )

    def _unknown(self, loaded: Router) -> str:
        """A sentence on the experts that a trained router was not trained with; empty when there are none."""
        is_policy = isinstance(loaded, Policy)
        if is_policy and not loaded.parameters():  # type: ignore[attr-defined]  # narrowed by is_policy
            return ""
        ready = [expert for expert in self.engine.pool.experts if expert.ready and (is_policy or expert.is_mixable)]
        unknown = [expert.title for expert in ready if expert.name not in loaded.experts]
        if not unknown:
            return ""
        more = len(unknown) - NAMED_AT_MOST
        named = ", ".join(unknown[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
        what = "weighs it by its card alone" if is_policy else "gives it no weight"
        if len(unknown) > 1:
            what = what.replace("it ", "them ").replace("its card", "their cards")
        return f"It was not trained with {named}, so it {what}."

    def close(self) -> None:
        """End the model's thread and the tools' workers."""
        self.engine.decoder.close()
        for tool in self.engine.tools.values():
            tool.close()


def load_model(settings: Settings, progress: Callable[[Any, int, int], None] | None = None) -> LanguageModel:
    """The base model of the settings, fetched when needed, with threads set. Raises ArtefactError."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    folder = base_folder(settings, progress)
    if progress:
        progress("loading", 0, 0)
    local = Path(folder).is_dir()
    name = settings.base_model or EMBEDDED_NAME
    int8 = settings.dtype == "int8"
    return load_base(folder, choose_dtype(settings.dtype), int8=int8, name=name, local=local)


def check_adapter(
    source: str | Sequence[Path], base: LanguageModel, pool: Pool, settings: Settings
) -> adding.Candidate:
    """Bring an adapter here and look at it; nothing is added yet. Raises InvalidRequest, StorageError."""
    limit = settings.max_adapter_bytes

    def fits(folder: Path, name: str) -> Checklist:
        return examine(folder, name, base.model, base_name=base.name, limit_bytes=limit).checklist

    return adding.check(source, pool=pool, added_dir=settings.added_dir, limit_bytes=limit, examine=fits)


def add_configured(base: LanguageModel, pool: Pool, settings: Settings) -> Pool:
    """The pool with the adapters of the setting `adapters`; one that cannot be added is there, not ready, with the
    reason. Sources that were added before are not fetched again."""
    refused: list[Expert] = []
    for source in settings.adapter_sources:
        if source in {expert.source for expert in pool.experts}:
            continue
        title = source.rstrip("/").rpartition("/")[2][:60] or source[:60]
        try:
            candidate = check_adapter(source, base, pool, settings)
            try:
                candidate.checklist.require(title)
                adding.keep(candidate, candidate.card.model_copy(update={"source": source[:200]}), pool)
            finally:
                adding.discard(candidate)
            pool = load_catalogue(settings.experts_dir, settings.added_dir)
        except PlaygroundError as error:
            log.warning("adapter refused source=%s reason=%s", source, error.message)
            name = free_name(title, [*pool.names, *(expert.name for expert in refused)])
            about = "An adapter named in the setting PLAYGROUND_ADAPTERS."
            refused.append(Expert(name, "lora", title, about, "??", 9, ready=False, reason=str(error)))
    return Pool((*pool.experts, *refused))


def load_bank(base: LanguageModel, pool: Pool) -> tuple[Bank, Pool]:
    """The bank of all adapters that fit the base, and the pool with those that do not marked and their reason given."""
    adapters, pool = read_adapters(base, pool)
    bank = Bank(base.model, int8=base.int8)
    bank.stack(adapters)
    return bank, pool


def read_adapters(base: LanguageModel, pool: Pool) -> tuple[list[Adapter], Pool]:
    """The adapters of `pool` that fit the base, in pool order, and the pool with the others marked as not ready."""
    adapters: list[Adapter] = []
    experts: list[Expert] = []
    for expert in pool.experts:
        if expert.kind == "lora" and expert.ready:
            try:
                adapters.append(read_adapter(Path(expert.folder), expert.name, base.model))
            except PlaygroundError as error:
                log.warning("expert refused name=%s reason=%s", expert.name, error.message)
                expert = replace(expert, ready=False, reason=str(error))
        experts.append(expert)
    return adapters, Pool(tuple(experts))


def assemble(
    settings: Settings,
    database: Database,
    pool: Pool,
    progress: Callable[[Any, int, int], None] | None = None,
    *,
    spare: int = 0,
) -> Parts:
    """Load everything. `progress` gets (phase, done, total); the model has all processors but `spare` of them, where
    the settings do not say how many. Raises ArtefactError when a model cannot be had."""
    began = time.monotonic()
    base = load_model(settings, progress)
    bank, pool = load_bank(base, add_configured(base, pool, settings))
    encoder = Encoder(settings)
    versions = Versions(database, settings)
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
        pool=pool,
        tools={name: tool for name, tool in load_answerers().items() if isinstance(tool, Tool)},
        resolve=versions.load,
    )
    log.info("ready seconds=%.1f experts=%s routers=%s", time.monotonic() - began, len(pool), len(ROUTERS))
    return Parts(engine=engine, encoder=encoder, versions=versions, settings=settings)
