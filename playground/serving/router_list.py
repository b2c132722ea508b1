"""List the routers as a person sees them: title, version in force, whether each can serve, and why not."""

from typing import Any

from playground.core.values import LEVELS, RouterInfo
from playground.errors import PlaygroundError
from playground.routers.base import ROUTERS, GateRouter, Policy, Router
from playground.routers.library import shipped_figure
from playground.serving.engine import Engine
from playground.serving.versions import Versions

NAMED_AT_MOST = 3


def describe_routers(engine: Engine, versions: Versions) -> list[RouterInfo]:
    """Return every router by level and title. Files that could not be read are listed with the reason."""
    infos = [_describe(name, engine, versions) for name in ROUTERS]
    infos.sort(key=lambda info: (list(LEVELS).index(info.level), info.title))
    for name, reason in ROUTERS.broken().items():
        infos.append(RouterInfo(name, name, "prompt", None, "", False, f"not available: {reason}", "", ""))
    return infos


def _describe(name: str, engine: Engine, versions: Versions) -> RouterInfo:
    spec = ROUTERS.get(name).spec
    version, reason, note = "", "", ""
    options: tuple[dict[str, Any], ...] = ()
    try:
        loaded, version = versions.load(name)
        in_force = loaded.options.model_dump()
        options = tuple(
            {**control, "default": in_force[control["name"]]} for control in loaded.Options.controls(run_time=True)
        )
        takes_any = isinstance(loaded, GateRouter) and loaded.takes_any_expert
        if isinstance(loaded, GateRouter):
            engine.base.check_gates()
            loaded.check_model(engine.base.layers, engine.base.width)
            missing = set() if takes_any else set(loaded.experts) - set(engine.bank.names)
            reason = f"It needs the expert {sorted(missing)[0]}, which is not installed." if missing else ""
        if not takes_any and not reason:
            note = _unknown(loaded, engine)
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
        options=options,
    )


def _unknown(loaded: Router, engine: Engine) -> str:
    """Return a sentence on the experts that a trained router does not know. Empty when it knows all."""
    is_policy = isinstance(loaded, Policy)
    if isinstance(loaded, Policy) and not loaded.parameters():
        return ""
    ready = [expert for expert in engine.pool.experts if expert.ready and (is_policy or expert.is_mixable)]
    unknown = [expert.title for expert in ready if expert.name not in loaded.experts]
    if not unknown:
        return ""
    more = len(unknown) - NAMED_AT_MOST
    named = ", ".join(unknown[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
    it, its = ("them", "their cards") if len(unknown) > 1 else ("it", "its card")
    what = f"weighs {it} by {its} alone" if is_policy else f"gives {it} no weight"
    return f"It was not trained with {named}, so it {what}."
