"""Define the state of one run as plain data: what was asked, what was decided, how it is decoded.

Shapes: E experts of the run's pool, N experts of the bank, T prompt tokens, L layers.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from ulid import ULID

from playground.core.values import Decision, Pool, RunRequest, Scheme, normalised

if TYPE_CHECKING:
    from playground.model.routing import RowRouting
    from playground.routers.base import Gate, Router


@dataclass(eq=False)
class Run:
    """Hold one run under way.

    `bank_experts` (N,) are the bank's experts when the run was opened. `pool_columns` (E,) is the place of each pool
    expert among them, -1 for one that is not there. `gate` is None when no gate decides. `propensity` (E,) is the
    distribution that the answering expert comes from. `shadow` is the version that decided beside it, if any.
    `prompt_weights` (T, L, E) are a gate's weights on the prompt. `written_by` is the pool position of the expert
    outside the model that answers. `forced` are the token ids of its words, when the model writes them.
    """

    request: RunRequest
    router: "Router"
    version: str
    pool: Pool
    bank_experts: tuple[str, ...]
    gate: "Gate | None" = None
    run_id: str = field(default_factory=lambda: str(ULID()))
    ids: list[int] = field(default_factory=list)
    prompt_tokens: int = 0
    decision: Decision | None = None
    propensity: np.ndarray | None = None
    scheme: Scheme = "mixture"
    shadow: str = ""
    shadow_weights: tuple[float, ...] = ()
    prompt_weights: np.ndarray | None = None
    routing: "RowRouting | None" = None
    written_by: int | None = None
    forced: list[int] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    is_over: bool = False

    def __post_init__(self) -> None:
        place = {name: i for i, name in enumerate(self.bank_experts)}
        columns = [place.get(expert.name, -1) if expert.is_mixable else -1 for expert in self.pool.experts]
        self.pool_columns = np.array(columns)

    @property
    def held(self) -> tuple[float, ...]:
        """Return the weights (E,) that hold in some layers only. Empty when there are none."""
        if not self.request.override_layers or self.request.override is None:
            return ()
        return tuple(float(weight) for weight in normalised(self.request.override))

    def over_pool(self, weights: np.ndarray) -> np.ndarray:
        """Return bank weights (..., N) as pool weights (..., E)."""
        padded = np.concatenate([weights, np.zeros((*weights.shape[:-1], 1), weights.dtype)], axis=-1)
        return np.asarray(padded[..., self.pool_columns])

    def over_bank(self, weights: np.ndarray | tuple[float, ...]) -> np.ndarray:
        """Return pool weights (E,) as bank weights (N,) float32; weights of experts outside the bank are dropped."""
        spread = np.zeros(len(self.bank_experts), np.float32)
        for column, weight in zip(self.pool_columns, weights, strict=True):
            if column >= 0:
                spread[int(column)] = weight
        return spread
