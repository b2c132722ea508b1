"""From the controls of the page to a `RunRequest`: every value that came from a browser is checked here."""

import json
from typing import TYPE_CHECKING, Any

from playground.core.values import Observe, Pool, Sampling, Serve
from playground.errors import InvalidRequest

if TYPE_CHECKING:
    from playground.serving.runtime import Runtime

SERVES: tuple[Serve, ...] = ("top", "sample", "mix")


def checked_prompt(prompt: Any, limit: int) -> tuple[str, str]:
    """(prompt, notice): stripped, and cut at `limit` characters with a notice. Raises InvalidRequest when empty."""
    text = str(prompt or "").encode("utf-8", "replace").decode().strip()  # half a pair of a broken paste is no text
    if not text:
        raise InvalidRequest("The prompt is empty.", "Type a prompt, or press an example.")
    if len(text) > limit:
        return text[:limit], f"the prompt was cut to {limit:,} characters"
    return text, ""


def sampling_of(temperature: float, top_p: float, penalty: float, tokens: int, seed: int) -> Sampling:
    """The sampling the controls say. Raises InvalidRequest for anything that is no number or out of range."""
    try:
        return Sampling(
            temperature=float(temperature),
            top_p=float(top_p),
            repetition_penalty=float(penalty),
            max_new_tokens=int(tokens),
            seed=int(seed or 0),
        )
    except (TypeError, ValueError) as error:
        raise InvalidRequest("A sampling setting is no number.", "Reset the settings.") from error


def observed(layer: Any, head: Any) -> Observe | None:
    """The attention head to watch; controls count from 1, 0 or nothing means none."""
    try:
        chosen = (int(layer or 0), int(head or 0))
    except (TypeError, ValueError) as error:
        raise InvalidRequest("The layer or head is no number.", "Choose whole numbers.") from error
    return Observe(chosen[0] - 1, chosen[1] - 1) if min(chosen) > 0 else None


def chosen_experts(pool: Pool, value: Any) -> tuple[str, ...] | None:
    """Names of the ticked experts in pool order; None, so that later ones join, when all that are ready are.

    `value` is a JSON list of names, or empty for all. Raises InvalidRequest for none, and for one that is not there.
    """
    if not value:
        return None
    try:
        names = json.loads(str(value))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The choice of experts is not usable.", "Choose them again.") from error
    if not isinstance(names, list) or not names:
        raise InvalidRequest("No expert is chosen.", "Tick at least one under Experts to choose from, or use all.")
    ready = [expert.name for expert in pool.experts if expert.ready]
    for name in names:
        if name not in ready:
            raise InvalidRequest(f"No expert called {str(name)[:60]!r} is ready.", f"Choose among: {', '.join(ready)}.")
    return tuple(name for name in ready if name in names) if len(set(names)) < len(ready) else None


def known_router(runtime: "Runtime", name: Any) -> str:
    """`name` when such a router exists. Raises InvalidRequest otherwise."""
    names = [info.name for info in runtime.routers()]
    if name not in names:
        raise InvalidRequest(f"No router is called {str(name)[:60]!r}.", f"Choose one of: {', '.join(names)}.")
    return str(name)


def serve_of(value: Any) -> Serve:
    """How prompt-level weights are served. Raises InvalidRequest for an unknown way."""
    if value not in SERVES:
        raise InvalidRequest(
            f"Weights cannot be served as {str(value)[:40]!r}.", f"Choose one of: {', '.join(SERVES)}."
        )
    return value
