"""Puts the parts together: what the page, the command line and the API hold. Quick to make; models load behind it.

Importing this module reaches no model library, so that the page paints first; `start` loads the rest in the background.
"""

import importlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from playground.core.events import Event, Failed, Finished
from playground.core.route_measures import AttentionOverview, Likelihoods, Likeness
from playground.core.values import Expert, Pool, RouterInfo, RunRequest
from playground.errors import NotReady, PlaygroundError
from playground.experts.catalogue import load_catalogue
from playground.settings import Settings
from playground.store.database import Database
from playground.store.runs import load_events, save_run

if TYPE_CHECKING:
    from playground.encode.encoder import Encoder
    from playground.experts.adapters.adding import Candidate
    from playground.experts.adapters.cards import Card
    from playground.serving.engine import Engine
    from playground.serving.loading import Parts
    from playground.serving.versions import Versions

log = logging.getLogger(__name__)
Phase = Literal["starting", "downloading", "converting", "loading", "ready", "failed"]


@dataclass(frozen=True)
class Status:
    """Where loading stands; `done` and `total` are bytes while downloading, else 0."""

    phase: Phase
    message: str
    done: int = 0
    total: int = 0
    remedy: str = ""


class Runtime:
    """One process's playground. `pool` and `database` are there at once, the rest when `is_ready`.

    `spare` is how many processors the model leaves to others; to be set before loading begins.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spare = 0
        self.database = Database(settings.database_address, data_dir=settings.data_dir)
        self.database.upgrade()
        self._pool = load_catalogue(settings.experts_dir, settings.added_dir)
        self._status = Status("starting", "Starting")
        self._parts: Parts | None = None
        self._done = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def status(self) -> Status:
        """Where loading stands now."""
        return self._status

    @property
    def pool(self) -> Pool:
        """The experts there are now; before loading has ended, those whose cards could be read."""
        return self._pool if self._parts is None else self._parts.engine.pool

    @property
    def is_ready(self) -> bool:
        """Whether runs can be served."""
        return self._parts is not None

    def start(self) -> None:
        """Begin loading in the background, unless that is under way or done; a failed start may be tried again."""
        with self._starting:
            if self.is_ready or (self._thread is not None and self._thread.is_alive()):
                return
            self._done.clear()
            self._thread = threading.Thread(target=self._load, name="loading", daemon=True)
            self._thread.start()

    def wait(self, timeout: float | None = None) -> None:
        """Block until loaded. Raises NotReady when that takes longer than `timeout` seconds or did not succeed."""
        if self._thread is None:
            self.start()
        if not self._done.wait(timeout):
            raise NotReady("The models are still loading.", "Wait a little longer.")
        if self._parts is None:
            raise NotReady(self._status.message, self._status.remedy)

    def _load(self) -> None:
        def progress(phase: Phase, done: int, total: int) -> None:
            words = {"downloading": "Downloading the language model", "converting": "Converting the language model"}
            self._status = Status(phase, words.get(phase, "Loading the models"), done, total)

        try:
            self._status = Status("loading", "Loading the models")
            # reached only here, in the background: the module imports torch and transformers
            assembly = importlib.import_module("playground.serving.loading")
            parts: Parts = assembly.assemble(self.settings, self.database, self._pool, progress, spare=self.spare)
            self._parts = parts
            self._status = Status("ready", "Ready")
        except PlaygroundError as error:
            log.error("loading failed reason=%s", error.message)
            self._status = Status("failed", error.message, remedy=error.remedy)
        except Exception as error:
            log.exception("loading failed")
            self._status = Status("failed", f"Loading failed: {error}", remedy="See the log, then run doctor.")
        finally:
            self._done.set()

    @property
    def parts(self) -> "Parts":
        """What was assembled. Raises NotReady before."""
        if self._parts is None:
            status = self._status
            raise NotReady(f"{status.message}.", status.remedy or "Wait until the models are ready.")
        return self._parts

    @property
    def engine(self) -> "Engine":
        """The engine. Raises NotReady before loading has ended."""
        return self.parts.engine

    @property
    def encoder(self) -> "Encoder":
        """The sentence encoder. Raises NotReady before loading has ended."""
        return self.parts.encoder

    @property
    def versions(self) -> "Versions":
        """The router versions. Raises NotReady before loading has ended."""
        return self.parts.versions

    def routers(self) -> list[RouterInfo]:
        """All routers by level; empty before loading has ended."""
        if self._parts is None:
            return []
        return self._parts.describe_routers()

    def check_adapter(self, source: str | Sequence[Path]) -> "Candidate":
        """Bring an adapter here and look at it; nothing is added yet. Raises NotReady, InvalidRequest, StorageError."""
        return self.parts.check_adapter(source)

    def add_expert(self, candidate: "Candidate", card: "Card") -> Expert:
        """Add a candidate that passed; the next run can use it. Raises InvalidRequest, StorageError."""
        return self.parts.add_expert(candidate, card)

    def remove_expert(self, name: str, *, patience_s: float = 0.0) -> Expert:
        """Take an added expert out. Raises InvalidRequest for a shipped one, NotReady while runs are under way."""
        return self.parts.remove_expert(name, patience_s=patience_s)

    def run(self, request: RunRequest, *, session_id: str = "", record: bool = True) -> Iterator[Event]:
        """The events of one run; it is stored before its last event is given. Raises InvalidRequest, NotReady."""
        return self._recorded([request], session_id, record)

    def run_pair(self, first: RunRequest, second: RunRequest, *, session_id: str = "") -> Iterator[Event]:
        """The events of two runs decoded in one batch; both RunStarted come first, in this order."""
        return self._recorded([first, second], session_id, True)

    def _recorded(self, requests: Sequence[RunRequest], session_id: str, record: bool) -> Iterator[Event]:
        cut = [self._fitting(request) for request in requests]
        told: dict[str, list[Event]] = {}
        order: list[str] = []
        stored: set[str] = set()

        def store(run_id: str) -> None:
            if record:
                request = cut[order.index(run_id)]
                with self.database.write() as session:
                    save_run(
                        session,
                        told[run_id],
                        prompt=request.prompt,
                        sampling=request.sampling,
                        base_model=self.engine.base.name,
                        session_id=session_id,
                    )
            stored.add(run_id)

        events = self.engine.run_together(cut)
        try:
            for event in events:
                if event.run_id not in told:
                    order.append(event.run_id)
                told.setdefault(event.run_id, []).append(event)
                if isinstance(event, Finished | Failed):
                    store(event.run_id)
                yield event
        finally:
            events.close()  # type: ignore[attr-defined]  # a generator; closing it cancels the run
            for run_id in order:
                if run_id not in stored:
                    store(run_id)

    def _fitting(self, request: RunRequest) -> RunRequest:
        """The request with its prompt cut to the longest that is served."""
        limit = self.settings.max_prompt_chars
        return request if len(request.prompt) <= limit else replace(request, prompt=request.prompt[:limit])

    def attention(self, run_id: str, layer: int) -> tuple[np.ndarray, list[str]]:
        """(H, T, T) float16 attention of `layer` over a stored run's prompt and answer, and its T token texts.

        Raises InvalidRequest for an unknown run or layer.
        """
        with self.database.read() as session:
            events = load_events(session, run_id)
        return self.engine.attention(events, layer)

    @property
    def attention_size(self) -> tuple[int, int]:
        """(layers, heads) of the base model. Raises NotReady before loading has ended."""
        return self.engine.base.layers, self.engine.base.heads

    def attention_overview(self, run_id: str, on_layer: Callable[[int, int], None]) -> AttentionOverview:
        """Every head of a stored run and their rollout; `on_layer` is told (done, layers) and may raise to end it."""
        with self.database.read() as session:
            events = load_events(session, run_id)
        return self._lens().overview(self.engine, events, on_layer)

    def likelihoods(self, first: str, second: str) -> Likelihoods:
        """How likely two stored runs' routings find each other's answers. Raises InvalidRequest."""
        with self.database.read() as session:
            runs = [load_events(session, run_id) for run_id in (first, second)]
        return self._lens().likelihoods(self.engine, *runs)

    def likeness(self) -> Likeness:
        """How alike the adapters are. Raises NotReady, InvalidRequest."""
        return self._lens().adapters_likeness(self.engine, self.settings.experts_dir)

    @staticmethod
    def _lens() -> Any:
        # reached only when models are loaded: the module imports torch
        return importlib.import_module("playground.serving.replay")

    def close(self) -> None:
        """End the model's thread and the tools' workers."""
        if self._parts is not None:
            self._parts.close()
