"""Fold the events of a run into the state that the page and the command line draw.

The fold is pure, so a live run and a reopened run cannot differ. Folding a list in pieces gives the same state as
folding it at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

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
    """Hold everything known about one run so far. `events` are all events in order; the other fields pick some out."""

    events: tuple[Event, ...] = ()
    started: RunStarted | None = None
    decided: Decided | None = None
    prompt_read: PromptRead | None = None
    tools: tuple[ToolCalled, ...] = ()
    tokens: tuple[TokenGenerated, ...] = ()
    finished: Finished | None = None
    failed: Failed | None = None
    text: str = ""

    @property
    def run_id(self) -> str:
        """Return the id of the run. It is empty before the run has started."""
        return self.started.run_id if self.started else ""

    @property
    def pool(self) -> tuple[str, ...]:
        """Return the names of the experts in pool order. It is empty before the run has started."""
        return self.started.pool if self.started else ()

    @property
    def is_over(self) -> bool:
        """Return whether no more events will come."""
        return self.finished is not None or self.failed is not None

    @property
    def template_tokens(self) -> int:
        """Return how many tokens of the prompt are those of the chat template. It is 0 before the prompt was read."""
        read = self.prompt_read
        if read is None or read.own[1] <= read.own[0]:
            return 0
        return len(read.tokens) - (read.own[1] - read.own[0])

    @property
    def answer(self) -> str:
        """Return the final text, or the part that has arrived."""
        return self.finished.text if self.finished else self.text

    @property
    def weights(self) -> np.ndarray | None:
        """Return the weights (E,) that the run used.

        After the end this is the usage. Before, it is the mean over the tokens, then the decision, then None.
        """
        if self.finished is not None:
            return self.finished.usage
        if self.tokens:
            return np.asarray(np.mean([token.weights for token in self.tokens], axis=0))
        return self.decided.weights if self.decided is not None else None

    @property
    def top_expert(self) -> str:
        """Return the name of the expert with the largest weight. It is empty before the decision."""
        weights = self.weights
        return self.pool[int(np.argmax(weights))] if weights is not None and self.pool else ""

    @property
    def handover(self) -> str:
        """Return a sentence on who answered, where it may not be the expert that the router preferred.

        That is so when a tool refused, and when the expert was drawn. It is empty otherwise.
        """
        if not self.tokens:
            return ""
        refused = next((tool.expert for tool in self.tools if not tool.ok), "")
        if refused:
            return f"{refused} could not answer this, so {self.top_expert} did."
        is_drawn = self.decided is not None and self.decided.scheme == "sample"
        return f"{self.top_expert} was drawn." if is_drawn else ""

    @property
    def layer_weights_shape(self) -> tuple[int, int, int] | None:
        """Return (tokens, layers, experts) of a gate's weights, or None when no gate ran."""
        shapes = [token.layer_weights.shape for token in self.tokens if token.layer_weights is not None]
        return (len(shapes), int(shapes[0][0]), int(shapes[0][1])) if shapes else None


def fold(state: ViewState, event: Event) -> ViewState:
    """Return the state after `event`. An event of an unknown kind is kept and changes nothing else."""
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


def fold_all(events: Iterable[Event]) -> ViewState:
    """Return the state after all `events`."""
    state = ViewState()
    for event in events:
        state = fold(state, event)
    return state


def ending(state: ViewState) -> Finished:
    """Return how the run ended.

    For a run that failed or was cut off, the end is made from what had arrived. Its reason is 'failed' or 'cancelled'.
    Raise ValueError for a run without events.
    """
    if state.finished is not None:
        return state.finished
    if not state.events:
        raise ValueError("a run without events has no end")
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
