"""What commands that measure systems share: everything loaded, the systems chosen, and progress that a log can hold."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from playground.cli.reply import Reply
from playground.cli.start import read_settings, ready_runtime
from playground.errors import InvalidRequest, PlaygroundError

if TYPE_CHECKING:
    from playground.learn.measuring.measurer import Measurer
    from playground.learn.measuring.systems import System
    from playground.routers.base import Gate
    from playground.serving.runtime import Runtime

SECONDS_BETWEEN_LINES = 30.0


@contextlib.contextmanager
def measuring(
    reply: Reply, chosen: str = "", *, fresh: bool = False
) -> Iterator[tuple["Measurer", dict[str, "System"]]]:
    """A measurer and the systems named in `chosen` (comma-separated; all by default), the base always among them.

    Raises InvalidRequest for a name that is not there.
    """
    with ready_runtime(reply) as runtime:
        # Both import torch: only when there is something to measure.
        from playground.learn.measuring.measurer import Kept, Measurer  # noqa: PLC0415
        from playground.learn.measuring.systems import BASE, systems_of  # noqa: PLC0415

        engine = runtime.engine
        systems = systems_of(engine.base, engine.bank, ready_gates(runtime, reply))
        if wanted := words(chosen):
            unknown = [name for name in wanted if name not in systems]
            if unknown:
                raise InvalidRequest(f"There is no system {unknown[0]}.", f"Choose among {', '.join(systems)}.")
            systems = {name: system for name, system in systems.items() if name in (BASE, *wanted)}
        kept = Kept(read_settings().cache_dir / "measured" / "answers.jsonl", fresh=fresh)
        yield Measurer(engine.base, engine.bank, runtime.encoder, kept, _Telling(reply)), systems
        reply.progress("")


def ready_gates(runtime: "Runtime", reply: Reply) -> dict[str, "Gate"]:
    """The gates in force whose experts are all installed; the others are named on standard error."""
    from playground.routers.base import ROUTERS, GateRouter  # noqa: PLC0415  (imports torch)

    installed = runtime.engine.installed()
    gates = {}
    for name in ROUTERS:
        if not issubclass(ROUTERS.get(name), GateRouter):
            continue
        try:
            loaded, _ = runtime.versions.load(name)
            if isinstance(loaded, GateRouter):
                loaded.check_model(runtime.engine.base.layers, runtime.engine.base.width)
        except PlaygroundError as error:
            reply.progress(f"{name} is left out: {error.message}", ends=True)
            continue
        if isinstance(loaded, GateRouter):
            gate = loaded.gate_for(installed)
            if set(gate.experts) <= set(installed.names):
                gates[name] = gate
            else:
                reply.progress(f"{name} is left out: it needs experts that are not installed.", ends=True)
    return gates


def words(text: str) -> Sequence[str]:
    """The names in a comma-separated option."""
    return [part.strip() for part in text.split(",") if part.strip()]


class _Telling:
    """Passes progress on to the reply, a line of its own every half minute."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.told = time.monotonic()

    def __call__(self, text: str) -> None:
        ends = time.monotonic() - self.told >= SECONDS_BETWEEN_LINES
        if ends:
            self.told = time.monotonic()
        self.reply.progress(text, ends=ends)
