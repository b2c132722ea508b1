"""Loads and connects the heavy parts: base, bank, encoder, tools, routers, engine. Reached only while loading."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from playground.core.values import Expert, Pool, RouterInfo
from playground.encode.encoder import Encoder
from playground.engine import Engine
from playground.errors import PlaygroundError
from playground.experts.catalogue import load_tools
from playground.learn.versions import Versions
from playground.model.adapters import Adapter, read_adapter
from playground.model.artefacts import base_folder
from playground.model.attention import observe_attention
from playground.model.base import BaseModel, choose_dtype, load_base
from playground.model.lora import Bank
from playground.model.worker import Decoder
from playground.routers.base import ROUTERS, GateRouter, Router
from playground.routers.library import broken, discover, shipped_figure
from playground.settings import Settings
from playground.store.database import Database

log = logging.getLogger(__name__)
EMBEDDED_NAME = "SmolLM2-135M-Instruct"
LEVELS = ("prompt", "gate", "controller")


@dataclass(frozen=True, eq=False)
class Parts:
    """Everything that needs a model library."""

    engine: Engine
    encoder: Encoder
    versions: Versions

    def describe_routers(self) -> list[RouterInfo]:
        """Every router with its state, by level and name; files that could not be read are there with the reason."""
        infos = [self._describe(name, ROUTERS.get(name)) for name in ROUTERS]
        infos.sort(key=lambda info: (LEVELS.index(info.level), info.title))
        for name, reason in broken().items():
            infos.append(RouterInfo(name, name, "prompt", None, "", False, f"not available: {reason}", "", ""))
        return infos

    def _describe(self, name: str, kind: type[Router]) -> RouterInfo:
        spec = kind.spec
        version, reason = "", ""
        try:
            loaded, version = self.versions.load(name)
            if isinstance(loaded, GateRouter):
                missing = set(loaded.experts) - set(self.engine.bank.names)
                reason = f"It needs the expert {sorted(missing)[0]}, which is not installed." if missing else ""
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
        )

    def close(self) -> None:
        """End the model's thread and the tools' workers."""
        self.engine.decoder.close()
        for tool in self.engine.tools.values():
            tool.close()


def load_model(settings: Settings, progress: Callable[[Any, int, int], None] | None = None) -> BaseModel:
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


def load_bank(base: BaseModel, pool: Pool, experts_dir: Path) -> tuple[Bank, Pool]:
    """The bank of all adapters that fit the base, and the pool with those that do not marked and their reason given."""
    adapters: list[Adapter] = []
    experts: list[Expert] = []
    for expert in pool.experts:
        if expert.kind == "lora" and expert.ready:
            try:
                adapters.append(read_adapter(experts_dir / expert.folder, expert.name, base.model))
            except PlaygroundError as error:
                log.warning("expert refused name=%s reason=%s", expert.name, error.message)
                expert = replace(expert, ready=False, reason=str(error))
        experts.append(expert)
    bank = Bank(base.model, int8=base.int8)
    bank.stack(adapters)
    return bank, Pool(tuple(experts))


def assemble(
    settings: Settings, database: Database, pool: Pool, progress: Callable[[Any, int, int], None] | None = None
) -> Parts:
    """Load everything. `progress` gets (phase, done, total). Raises ArtefactError when a model cannot be had."""
    began = time.monotonic()
    base = load_model(settings, progress)
    bank, pool = load_bank(base, pool, settings.experts_dir)
    observe_attention(base.model)
    encoder = Encoder(settings)
    discover()
    versions = Versions(database, settings)
    engine = Engine(
        base,
        bank,
        decoder=Decoder(base, bank, max_batch=settings.max_batch, max_queue=settings.max_queue),
        encoder=encoder,
        pool=pool,
        tools=load_tools(),
        resolve=versions.load,
    )
    log.info("ready seconds=%.1f experts=%s routers=%s", time.monotonic() - began, len(pool), len(ROUTERS))
    return Parts(engine=engine, encoder=encoder, versions=versions)
