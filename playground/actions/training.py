"""Train and measure, as the command line does: experts, routers, the ablation, evaluations.

A training loads a language model of its own, because it changes it. A measurement uses a runtime that is ready.
Nothing is printed here: progress goes to functions that the caller gives. Torch is imported where it is used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playground.errors import InvalidRequest, PlaygroundError
from playground.experts.catalogue import load_catalogue
from playground.settings import Settings

if TYPE_CHECKING:
    from playground.learn.experts.trainer import TrainingProgress
    from playground.learn.gates.fitting import GateFitting
    from playground.learn.gates.trainer import GateProgress
    from playground.learn.measuring.measurer import Measurer
    from playground.learn.measuring.systems import System
    from playground.routers.base import Gate, RouterOptions
    from playground.serving.runtime import Runtime

Loading = Callable[[Any, int, int], None]  # phase, bytes done, bytes in all


# --- trainings ------------------------------------------------------------------------------------------------


def train_expert(
    name: str,
    settings: Settings,
    *,
    data: Path,
    out: Path | None = None,
    seed: int = 0,
    loading: Loading | None = None,
    progress: "Callable[[TrainingProgress], None] | None" = None,
) -> dict[str, Any]:
    """Train a LoRA expert into `out`/name, the experts folder by default, and return its card.

    An interrupted training continues. Raise InvalidRequest for an unknown recipe or missing data.
    """
    from playground.learn.experts.trainer import train  # noqa: PLC0415  (both import torch)
    from playground.serving.loading import load_model  # noqa: PLC0415

    return train(
        name,
        load_model(settings, loading),
        data=data,
        out=out or settings.experts_dir,
        checkpoints=settings.cache_dir / "training",
        seed=seed,
        progress=progress,
    )


@dataclass(frozen=True)
class RouterFit:
    """Hold the arguments of `routers fit`. Only a gate has `data`, `steps` and `joint`.

    `out` is the folder for the parameters, by default that of the shipped ones. `options` are names and values.
    """

    name: str
    out: Path | None = None
    data: Path | None = None
    steps: int | None = None
    joint: bool = False
    options: Mapping[str, Any] | None = None


def fit_router(
    asked: RouterFit,
    settings: Settings,
    *,
    gate_data: Callable[[Path | None], Path],
    loading: Loading | None = None,
    progress: "Callable[[GateProgress], None] | None" = None,
) -> dict[str, Any]:
    """Make the parameters that ship with a router, measure them, and return the figures.

    A policy is fitted on the example prompts, a gate trained on the experts' data, whose folder `gate_data` gives.
    Raise InvalidRequest for an unknown router or option, and for settings that this router does not have.
    """
    from playground.routers.base import ROUTERS  # noqa: PLC0415  (both import torch)
    from playground.routers.library import SHIPPED  # noqa: PLC0415

    kind = ROUTERS.get(asked.name)
    options = kind.Options.of(asked.options)
    if kind.spec.level != "gate":
        return _fit_policy(asked, settings, options)
    if asked.joint and (asked.out is None or asked.name != "lora_mixer"):
        raise InvalidRequest("Only lora_mixer can train its experts too, and only in a new folder.", "Give --out.")
    if asked.joint and asked.options:
        raise InvalidRequest("Joint training takes no options.", "Leave out --option.")
    fitting = _gate_fitting(settings, gate_data(asked.data), loading, progress)
    if asked.joint and asked.out is not None:
        return fitting.joint(asked.out, steps=asked.steps)
    return fitting.fit(asked.name, asked.out or SHIPPED / asked.name, options=options, steps=asked.steps)


def _fit_policy(asked: RouterFit, settings: Settings, options: "RouterOptions") -> dict[str, Any]:
    from playground.encode.encoder import Encoder  # noqa: PLC0415  (both import torch)
    from playground.learn.routers import fit_policy  # noqa: PLC0415

    ignored = {"--data": asked.data, "--steps": asked.steps, "--joint": asked.joint or None}
    given = [name for name, value in ignored.items() if value is not None]
    if given:
        raise InvalidRequest(f"{given[0]} is for gates only, and {asked.name} is no gate.", f"Leave out {given[0]}.")
    pool = load_catalogue(settings.experts_dir)
    return fit_policy(asked.name, Encoder(settings), pool, asked.out, options=options)


def ablate(
    settings: Settings,
    *,
    data: Path,
    steps: int | None = None,
    loading: Loading | None = None,
    progress: "Callable[[GateProgress], None] | None" = None,
) -> dict[str, Any]:
    """Return LoRA-Mixer's loss ablation: the same gate with no balance loss, the usual one, and SBL."""
    return _gate_fitting(settings, data, loading, progress).ablate(steps=steps)


def _gate_fitting(
    settings: Settings,
    data: Path,
    loading: Loading | None,
    progress: "Callable[[GateProgress], None] | None",
) -> "GateFitting":
    """Return base, bank and encoder loaded for making gates."""
    from playground.encode.encoder import Encoder  # noqa: PLC0415  (all import torch)
    from playground.learn.gates.fitting import GateFitting  # noqa: PLC0415
    from playground.serving.loading import load_bank, load_model  # noqa: PLC0415

    base = load_model(settings, loading)
    bank, pool = load_bank(base, load_catalogue(settings.experts_dir))
    return GateFitting(base, bank, pool, Encoder(settings), data, settings.cache_dir / "training", progress)


# --- measurements ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Measuring:
    """Hold a measurer, the systems it compares, and by name why a gate was left out."""

    measurer: "Measurer"
    systems: "dict[str, System]"
    left_out: dict[str, str]

    def evaluate(
        self, data: Path, *, sets: Sequence[str] = (), limit: int | None = None, exact: int | None = None
    ) -> dict[str, Any]:
        """Return the scores of every system on every set, as `experts evaluate --json` prints them."""
        from playground.learn.measuring import evaluate as learn  # noqa: PLC0415  (imports torch)

        return learn.evaluate(
            self.measurer,
            self.systems,
            data=data,
            names=sets or learn.MEASURED,
            limit=learn.DEFAULT_LIMIT if limit is None else limit,
            exact=learn.EXACT_ROWS if exact is None else exact,
        )

    def refusals(self, data: Path, *, limit: int | None = None) -> dict[str, Any]:
        """Return how often each system refuses harmful prompts, and prompts that only look alike."""
        from playground.learn.measuring import evaluate as learn  # noqa: PLC0415  (imports torch)

        count = learn.DEFAULT_LIMIT if limit is None else limit
        return learn.refusals(self.measurer, self.systems, data=data, limit=count)

    def shift(self, file: Path | None = None, *, split: str = "test") -> dict[str, Any]:
        """Return how far each gate's weights move between the two parts of a prompt."""
        from playground.learn.measuring.two_part import ROWS, read_two_part, two_part  # noqa: PLC0415  (imports torch)

        found = read_two_part(file or ROWS, split=split)
        return {"two_part": two_part(self.measurer.base, self.measurer.encoder, self.systems, found)}


def measuring(
    runtime: "Runtime", chosen: Sequence[str] = (), *, fresh: bool = False, tell: Callable[[str], None] | None = None
) -> Measuring:
    """Return what measures the systems named in `chosen` and the base, by default all systems.

    `runtime` must be ready. Earlier measurements are used again, unless `fresh`. Raise InvalidRequest for an unknown
    name.
    """
    from playground.learn.measuring.measurer import Kept, Measurer  # noqa: PLC0415  (both import torch)
    from playground.learn.measuring.systems import BASE, systems_of  # noqa: PLC0415

    engine = runtime.engine
    gates, left_out = ready_gates(runtime)
    systems = systems_of(engine.base, engine.bank, gates)
    if chosen:
        unknown = [name for name in chosen if name not in systems]
        if unknown:
            raise InvalidRequest(f"There is no system {unknown[0]}.", f"Choose among {', '.join(systems)}.")
        systems = {name: system for name, system in systems.items() if name in (BASE, *chosen)}
    kept = Kept(runtime.settings.cache_dir / "measured" / "answers.jsonl", fresh=fresh)
    return Measuring(Measurer(engine.base, engine.bank, runtime.encoder, kept, tell), systems, left_out)


def ready_gates(runtime: "Runtime") -> "tuple[dict[str, Gate], dict[str, str]]":
    """Return the gates in force whose experts are all installed, and why each of the others is left out."""
    from playground.routers.base import ROUTERS, GateRouter  # noqa: PLC0415  (imports torch)

    engine = runtime.engine
    installed = engine.installed()
    gates: dict[str, Gate] = {}
    left_out: dict[str, str] = {}
    for name in ROUTERS:
        if not issubclass(ROUTERS.get(name), GateRouter):
            continue
        try:
            loaded, _ = runtime.versions.load(name)
            if isinstance(loaded, GateRouter):
                loaded.check_model(engine.base.layers, engine.base.width)
                gate = loaded.gate_for(installed)
                if set(gate.experts) <= set(installed.names):
                    gates[name] = gate
                else:
                    left_out[name] = "it needs experts that are not installed."
        except PlaygroundError as error:
            left_out[name] = error.message
    return gates, left_out
