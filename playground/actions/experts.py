"""List experts; check, add or remove an adapter. This works with a running playground or on folders alone."""

import importlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playground.actions import identity
from playground.actions.ask import LOAD_SECONDS
from playground.core.values import Expert, Pool
from playground.errors import NotReady
from playground.experts.adapters import adding
from playground.experts.adapters.adding import Candidate, card_from, discard
from playground.experts.adapters.cards import Card
from playground.experts.adapters.facts import AdapterFacts, facts_of
from playground.experts.catalogue import load_catalogue
from playground.settings import Settings

if TYPE_CHECKING:
    from playground.model.base import LanguageModel
    from playground.serving.loading import Call
    from playground.serving.runtime import Runtime

__all__ = ["Candidate", "Card", "card_from", "discard"]

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 60.0  # how long a removal waits for current runs
LISTED = (
    "name",
    "kind",
    "title",
    "description",
    "ready",
    "reason",
    "licence",
    "trained_on",
    "figure",
    "is_added",
)
_changing = threading.Lock()  # one change of the experts at a time


def experts_json(pool: Pool) -> dict[str, Any]:
    """Return every expert with its kind, licence, whether it is ready, and whether it was added here."""
    return {"experts": [{name: getattr(expert, name) for name in LISTED} for expert in pool.experts]}


def installed(settings: Settings) -> Pool:
    """Return the experts whose folders are there, without a running playground."""
    return load_catalogue(settings.experts_dir, settings.added_dir)


def facts(runtime: "Runtime") -> dict[str, AdapterFacts]:
    """Return what the files of each adapter hold. Empty while models load, because hashing would slow that down."""
    if not runtime.is_ready:
        return {}
    found = {expert.name: facts_of(expert) for expert in runtime.pool.experts}
    return {name: fact for name, fact in found.items() if fact is not None}


def example_prompt(pool: Pool, pressed: str) -> str:
    """Return the example prompt with an id like `math:0`. Empty for any other text."""
    prompts = {f"{expert.name}:{i}": text for expert in pool.experts for i, text in enumerate(expert.examples)}
    return prompts.get(pressed, "")


# --- on a running playground ----------------------------------------------------------------------------------------


def check(runtime: "Runtime", source: str | Sequence[Path], password: str, *, address: str = "") -> Candidate:
    """Fetch an adapter and check it. Nothing is added yet.

    Raise NotPermitted, NotReady, InvalidRequest, StorageError.
    """
    identity.require_admin(runtime.settings, password, address=address)
    runtime.wait(LOAD_SECONDS)
    engine = runtime.engine
    return check_source(source, engine.base, engine.pool, runtime.settings, call=engine.decoder.call)


def add(runtime: "Runtime", candidate: Candidate, card: Card, password: str, *, address: str = "") -> Expert:
    """Add a candidate that passed, with `card`. The next run can use it. Current runs are not touched.

    Raise NotPermitted, InvalidRequest when it did not pass or its name is taken, StorageError when the disk refuses.
    """
    identity.require_admin(runtime.settings, password, address=address)
    settings, engine = runtime.settings, runtime.engine
    with _changing:
        adding.keep(candidate, card, engine.pool)
        found = installed(settings)
        added = found.experts[found.index(card.name)]
        refused = [expert for expert in engine.pool.experts if expert.kind == "lora" and not expert.folder]
        with ExitStack() as undo:
            undo.callback(adding.delete, added)
            _restack(runtime, Pool((*found.experts, *refused)))
            undo.pop_all()
    log.info("expert added name=%s source=%s", added.name, added.source)
    return added


def remove(
    runtime: "Runtime", name: str, password: str, *, address: str = "", patience_s: float = PATIENCE_SECONDS
) -> Expert:
    """Remove an added expert and delete its files, once no current run can use it.

    Raise NotPermitted, NotReady when runs do not end in time, InvalidRequest for an expert that shipped.
    """
    identity.require_admin(runtime.settings, password, address=address)
    runtime.wait(LOAD_SECONDS)
    until = time.monotonic() + patience_s
    while True:
        try:
            with _changing:
                expert = adding.removable(runtime.pool, name)
                left = (other for other in runtime.pool.experts if other.name != name)
                _restack(runtime, Pool(tuple(left)))
                adding.delete(expert)
            log.info("expert removed name=%s", name)
            return expert
        except NotReady:
            if time.monotonic() >= until:
                raise
            time.sleep(0.2)


def _restack(runtime: "Runtime", pool: Pool) -> None:
    """Give the engine the experts of `pool`. Experts it has keep their places; new ones follow."""
    engine = runtime.engine
    # imports torch, which is there once models are loaded
    loading = importlib.import_module("playground.serving.loading")
    adapters, pool = loading.read_adapters(engine.base, pool, tried=engine.bank.names, call=engine.decoder.call)
    place = {name: i for i, name in enumerate(engine.bank.names)}
    adapters.sort(key=lambda adapter: place.get(adapter.name, len(place)))
    engine.change_experts(adapters, pool)


def client_check(runtime: "Runtime", source: str, password: str, *, address: str = "") -> dict[str, Any]:
    """Return whether an adapter fits, as JSON."""
    candidate = check(runtime, str(source), password, address=address)
    discard(candidate)
    return {"source": candidate.label, **candidate.checklist.as_json()}


def client_add(
    runtime: "Runtime", source: str, fields: Mapping[str, Any], password: str, *, address: str = ""
) -> dict[str, Any]:
    """Check an adapter and add it with a card of `fields`. Return the outcome as JSON."""
    candidate = check(runtime, str(source), password, address=address)
    try:
        expert = add(runtime, candidate, card_from(candidate.card, **fields), password, address=address)
    finally:
        discard(candidate)
    return {"added": expert.name, **candidate.checklist.as_json()}


# --- on the folders alone -------------------------------------------------------------------------------------------


def check_source(
    source: str | Sequence[Path],
    base: "LanguageModel",
    pool: Pool,
    settings: Settings,
    *,
    call: "Call | None" = None,
) -> Candidate:
    """Fetch an adapter and check it against a base model. Raise InvalidRequest, StorageError.

    `call` runs the trial in the model's thread. Without it the model is taken to be used by nobody else.
    """
    loading = importlib.import_module("playground.serving.loading")  # imports torch
    candidate: Candidate = loading.check_adapter(source, base, pool, settings, call=call or loading.at_once)
    return candidate


def keep(candidate: Candidate, card: Card, pool: Pool) -> None:
    """Put a candidate that passed into the folder of added experts. Raise InvalidRequest, StorageError."""
    adding.keep(candidate, card, pool)


def delete(settings: Settings, name: str) -> None:
    """Delete the files of an added expert. Raise InvalidRequest for one that shipped, StorageError."""
    adding.delete(adding.removable(installed(settings), name))
