"""Hold the playground of one process: settings, database and pool at once, the models when they are loaded.

Importing this module imports no model library, so that the page paints first. `start` loads the rest in the background.
"""

import importlib
import logging
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from playground.core.events import Event, Failed, Finished
from playground.core.route_measures import AttentionOverview, Likelihoods, Likeness
from playground.core.values import Pool, RouterInfo, RunRequest
from playground.errors import NotReady, PlaygroundError
from playground.experts.catalogue import load_catalogue
from playground.settings import Settings
from playground.store.database import Database
from playground.store.runs import load_events, save_run

if TYPE_CHECKING:
    from playground.encode.encoder import Encoder
    from playground.serving.engine import Engine
    from playground.serving.loading import Loaded
    from playground.serving.replay import Replay
    from playground.serving.versions import Versions

log = logging.getLogger(__name__)
Phase = Literal["starting", "downloading", "converting", "loading", "ready", "failed"]
WORDS: dict[Phase, str] = {
    "downloading": "Downloading the language model",
    "converting": "Converting the language model",
}
SEE_LOG = "See the log, then run: python -m playground doctor."


@dataclass(frozen=True)
class Status:
    """Hold the progress of loading. `done` and `total` are bytes during a download, else 0."""

    phase: Phase
    message: str
    done: int = 0
    total: int = 0
    remedy: str = ""


class Runtime:
    """Hold what the page, the command line and the API share. `pool` and `database` are there at once.

    `spare` is how many processors the model leaves to others. Set it before loading begins.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spare = 0
        self.database = Database.of(settings)
        self.database.upgrade()
        self._pool = load_catalogue(settings.experts_dir, settings.added_dir)
        self._status = Status("starting", "Starting")
        self._loaded: Loaded | None = None
        self._done = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    # --- loading --------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """Return where loading stands now. When it is done, the message says what does not work as usual."""
        if self._loaded is None or self._status.phase != "ready":
            return self._status
        restarts, limits = self._loaded.engine.decoder.restarts, self._loaded.engine.base.limits
        told = [f"with this language model, {limits}"] if limits else []
        if restarts:
            told.append(f"the model's thread broke and began anew ({restarts} times so far)")
        return replace(self._status, message="; ".join(told) or "Ready")

    @property
    def is_ready(self) -> bool:
        """Return whether runs can be served."""
        return self._loaded is not None

    def start(self) -> None:
        """Begin loading in the background, unless it is running or done. A failed start can be tried again."""
        with self._starting:
            if self.is_ready or (self._thread is not None and self._thread.is_alive()):
                return
            self._done.clear()
            self._thread = threading.Thread(target=self._load, name="loading", daemon=True)
            self._thread.start()

    def wait(self, timeout: float | None = None) -> None:
        """Block until loaded. Raise NotReady when that takes longer than `timeout` seconds or did not succeed."""
        if self._thread is None:
            self.start()
        if not self._done.wait(timeout):
            raise NotReady("The models are still loading.", "Try again in a moment.")
        if self._loaded is None:
            raise self._not_ready()

    def _not_ready(self) -> NotReady:
        """Return the error that says where loading stands, and what to do."""
        status = self._status
        remedy = SEE_LOG if status.phase == "failed" else "Wait until the models are ready."
        return NotReady(f"{status.message.removesuffix('.')}.", status.remedy or remedy)

    def _load(self) -> None:
        def progress(phase: Phase, done: int, total: int) -> None:
            self._status = Status(phase, WORDS.get(phase, "Loading the models"), done, total)

        try:
            self._status = Status("loading", "Loading the models")
            # reached only here, in the background: the module imports torch and transformers
            loading = importlib.import_module("playground.serving.loading")
            loaded: Loaded = loading.load_everything(
                self.settings, self.database, self._pool, progress, spare=self.spare
            )
            self._loaded = loaded
            self._status = Status("ready", "Ready")
        except PlaygroundError as error:
            log.error("loading failed reason=%s", error.message)
            self._status = Status("failed", error.message, remedy=error.remedy)
        except Exception as error:
            log.exception("loading failed")
            self._status = Status("failed", f"Loading failed: {error}", remedy=SEE_LOG)
        finally:
            self._done.set()

    def close(self) -> None:
        """End the model's thread and the experts outside the model, and close the database."""
        self.database.checkpoint()  # first: whoever ends this program may not wait for the model
        if self._loaded is not None:
            self._loaded.close()
        self.database.close()

    # --- what is loaded -------------------------------------------------------------------------------------

    @property
    def pool(self) -> Pool:
        """Return the current experts. Before loading has ended, those whose cards could be read."""
        return self._pool if self._loaded is None else self._loaded.engine.pool

    @property
    def loaded(self) -> "Loaded":
        """Return the loaded parts. Raise NotReady before loading has ended."""
        if self._loaded is None:
            raise self._not_ready()
        return self._loaded

    @property
    def engine(self) -> "Engine":
        """Return the engine. Raise NotReady before loading has ended."""
        return self.loaded.engine

    @property
    def encoder(self) -> "Encoder":
        """Return the sentence encoder. Raise NotReady before loading has ended."""
        return self.loaded.encoder

    @property
    def versions(self) -> "Versions":
        """Return the router versions. Raise NotReady before loading has ended."""
        return self.loaded.versions

    @property
    def attention_size(self) -> tuple[int, int]:
        """Return (layers, heads) of the base model. Raise NotReady before loading has ended."""
        return self.engine.base.layers, self.engine.base.heads

    def routers(self) -> list[RouterInfo]:
        """Return all routers by level. Empty before loading has ended."""
        if self._loaded is None:
            return []
        # imports torch, which is there once models are loaded
        listing = importlib.import_module("playground.serving.router_list")
        infos: list[RouterInfo] = listing.describe_routers(self._loaded.engine, self._loaded.versions)
        return infos

    def likeness(self) -> Likeness:
        """Return how similar the adapters are. Raise NotReady, InvalidRequest."""
        # imports torch, as above
        found: Likeness = importlib.import_module("playground.serving.likeness").adapters_likeness(self.engine)
        return found

    # --- runs -----------------------------------------------------------------------------------------------

    def run(self, request: RunRequest, *, session_id: str = "") -> Generator[Event]:
        """Yield the events of one run. It is stored before its last event is given. Raise InvalidRequest, NotReady."""
        return self._recorded([request], session_id)

    def run_pair(self, first: RunRequest, second: RunRequest, *, session_id: str = "") -> Generator[Event]:
        """Yield the events of two runs decoded in one batch. Both RunStarted come first, in this order."""
        return self._recorded([first, second], session_id)

    def _recorded(self, requests: Sequence[RunRequest], session_id: str) -> Generator[Event]:
        limit = self.settings.max_prompt_chars
        cut = [replace(request, prompt=request.prompt[:limit]) for request in requests]
        told: dict[str, list[Event]] = {}
        stored: set[str] = set()

        def store(run_id: str) -> None:
            self._store(cut[list(told).index(run_id)], told[run_id], session_id)
            stored.add(run_id)

        events = self.engine.run_together(cut)
        try:
            for event in events:
                told.setdefault(event.run_id, []).append(event)
                if isinstance(event, Finished | Failed):
                    store(event.run_id)
                yield event
        finally:
            events.close()  # cancels what is under way, so that what arrived of it can be stored
            for run_id in told:
                if run_id not in stored:
                    store(run_id)

    def _store(self, request: RunRequest, events: Sequence[Event], session_id: str) -> None:
        with self.database.write() as session:
            save_run(
                session,
                events,
                prompt=request.prompt,
                sampling=request.sampling,
                base_model=self.engine.base.name,
                session_id=session_id,
            )

    # --- stored runs, read again ----------------------------------------------------------------------------

    def attention(self, run_id: str, layer: int) -> tuple[np.ndarray, list[str]]:
        """Return the attention (H, T, T) float16 of `layer` over a stored run, and its T token texts.

        Raise InvalidRequest for an unknown run or layer.
        """
        return self._replay().attention(self._events(run_id), layer)

    def attention_overview(self, run_id: str, on_layer: Callable[[int, int], None]) -> AttentionOverview:
        """Return every head of a stored run and their rollout.

        `on_layer` gets (layers done, layers) after each layer and may raise to end it.
        """
        return self._replay().overview(self._events(run_id), on_layer)

    def likelihoods(self, first: str, second: str) -> Likelihoods:
        """Return how likely two stored runs' routings find each other's answers. Raise InvalidRequest."""
        return self._replay().likelihoods(self._events(first), self._events(second))

    def _events(self, run_id: str) -> list[Event]:
        with self.database.read() as session:
            return load_events(session, run_id)

    def _replay(self) -> "Replay":
        # imports torch, which is there once models are loaded
        replay: Replay = importlib.import_module("playground.serving.replay").Replay(self.engine)
        return replay
