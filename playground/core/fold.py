"""Events of a run folded into what is known of it: the one fold behind the page, the command line and the API.

Pure: a live run and a reopened one cannot differ.
Folding a list in pieces gives what folding it at once gives.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from playground.core.events import (
    Decided,
    Event,
    Failed,
    Finished,
    PromptRead,
    RunStarted,
    TokenGenerated,
    ToolCalled,
)


@dataclass(frozen=True, eq=False)
class ViewState:
    """Everything known of one run so far; `events` in order of arrival, the named ones picked out."""

    events: tuple[Event, ...] = ()
    started: RunStarted | None = None
    decided: Decided | None = None
    prompt_read: PromptRead | None = None
    tools: tuple[ToolCalled, ...] = ()
    tokens: tuple[TokenGenerated, ...] = ()
    finished: Finished | None = None
    failed: Failed | None = None
    text: str = field(default="")

    @property
    def run_id(self) -> str:
        """The run's id; empty before it started."""
        return self.started.run_id if self.started else ""

    @property
    def pool(self) -> tuple[str, ...]:
        """Expert names in pool order; empty before the run started."""
        return self.started.pool if self.started else ()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.finished is not None or self.failed is not None

    @property
    def answer(self) -> str:
        """The final text, or what has arrived of it."""
        return self.finished.text if self.finished else self.text

    @property
    def weights(self) -> np.ndarray | None:
        """(E,) what the run used: usage once finished, else the mean over tokens, else the decision, else None."""
        if self.finished is not None:
            return self.finished.usage
        if self.tokens:
            return np.asarray(np.mean([token.weights for token in self.tokens], axis=0))
        return self.decided.weights if self.decided is not None else None

    @property
    def top_expert(self) -> str:
        """Name of the expert with the largest weight; empty when nothing is decided."""
        weights = self.weights
        return self.pool[int(np.argmax(weights))] if weights is not None and self.pool else ""

    @property
    def layer_weights_shape(self) -> tuple[int, int, int] | None:
        """(tokens, layers, experts) of a gate's trace; None when no gate ran."""
        shapes = [token.layer_weights.shape for token in self.tokens if token.layer_weights is not None]
        return (len(shapes), int(shapes[0][0]), int(shapes[0][1])) if shapes else None


def fold(state: ViewState, event: Event) -> ViewState:
    """The state after `event`. An event of an unknown kind is kept and otherwise ignored."""
    state = replace(state, events=(*state.events, event))
    match event:
        case RunStarted():
            return replace(state, started=event)
        case Decided():
            return replace(state, decided=event)
        case PromptRead():
            return replace(state, prompt_read=event)
        case ToolCalled():
            return replace(state, tools=(*state.tools, event))
        case TokenGenerated():
            return replace(state, tokens=(*state.tokens, event), text=state.text + event.text)
        case Finished():
            return replace(state, finished=event)
        case Failed():
            return replace(state, failed=event)
    return state


def fold_all(events: Iterable[Event], state: ViewState | None = None) -> ViewState:
    """The state after all of `events`, from `state` on."""
    state = state or ViewState()
    for event in events:
        state = fold(state, event)
    return state


def ending(state: ViewState) -> Finished:
    """How the run ended. For one that broke or was cut off it is made up from what had arrived, with the reason
    'failed' or 'cancelled'. Raises ValueError for a run without events."""
    if state.finished is not None:
        return state.finished
    if not state.events:
        raise ValueError("a run that never began has no end")
    last = state.events[-1]
    usage = np.mean([token.weights for token in state.tokens], axis=0) if state.tokens else np.zeros(len(state.pool))
    return Finished(
        run_id=last.run_id,
        seq=last.seq + 1,
        at=last.at,
        text=state.text.strip(),
        usage=usage.astype(np.float32),
        tokens=len(state.tokens),
        prompt_tokens=len(state.prompt_read.tokens) if state.prompt_read else 0,
        timings={"total_s": last.at},
        reason="failed" if state.failed else "cancelled",
    )
