"""Make the routing of one run: constant weights or a gate, and weights set by hand in some layers."""

import time
from weakref import WeakKeyDictionary

import numpy as np
import torch

from playground.core.values import Pool
from playground.encode.base import TextEncoder, describe
from playground.errors import InvalidRequest
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.override import hold_layers
from playground.model.routing import RowRouting, gate_routing
from playground.model.subspaces import input_directions
from playground.routers.base import Gate, GateRouter, Installed, Router
from playground.serving.run import Run

WHOLE_PROMPT = 1024  # tokens that are read at once, without a token for others


class Mixtures:
    """Make the routing of runs over one bank. A router's gate is made once for each set of experts."""

    def __init__(self, base: LanguageModel, bank: Bank, encoder: TextEncoder) -> None:
        self.base = base
        self.bank = bank
        self.encoder = encoder
        self._gates: WeakKeyDictionary[Router, tuple[tuple[str, ...], Gate]] = WeakKeyDictionary()

    def forget_gates(self) -> None:
        """Drop all gates, because a name can belong to another adapter now."""
        self._gates.clear()

    def gate_of(self, router: Router, pool: Pool) -> Gate | None:
        """Return the router's gate over the current experts. None for a router without a gate.

        Raise InvalidRequest when it was made for a model of another size.
        """
        if not isinstance(router, GateRouter):
            return None
        kept = self._gates.get(router)
        if kept is None or kept[0] != self.bank.names:
            self.base.check_gates()
            router.check_model(self.base.layers, self.base.width)
            kept = (self.bank.names, router.gate_for(self.installed(pool)))
            self._gates[router] = kept
        return kept[1]

    def installed(self, pool: Pool) -> Installed:
        """Return the mixable experts there are now, as gates that take in any expert need them."""
        experts = {expert.name: expert for expert in pool.experts}
        cards = Pool(tuple(experts[name] for name in self.bank.names))
        return Installed(
            self.bank.names,
            describe(self.encoder, cards),
            lambda: input_directions(self.bank, self.base.width),
        )

    def constant(self, run: Run, weights: np.ndarray) -> RowRouting:
        """Return constant weights (E,) over the run's pool; all zero is the plain base. Raise InvalidRequest."""
        for expert in run.pool.experts:
            if expert.is_mixable and expert.name not in run.bank_experts:
                raise InvalidRequest(f"{expert.title} was removed just now.", "Send the prompt again.")
        spread = torch.from_numpy(run.over_bank(weights)).to(self.base.model.device)
        if not spread.any():
            spread[0] = 1.0
        return self._held(run, RowRouting(constant=spread))

    def gated(self, run: Run) -> RowRouting:
        """Return a new state of the run's gate, over the pool. Raise InvalidRequest when it cannot serve that pool."""
        gate = run.gate
        if gate is None:
            raise InvalidRequest("This router makes no decision.", "Choose another router.")
        in_pool = {expert.name for expert in run.pool.experts if expert.is_mixable}
        if not set(gate.experts) & in_pool:
            raise InvalidRequest("This gate knows none of the chosen experts.", "Choose others, or train it for them.")
        missing = set(gate.experts) - set(self.bank.names)
        if missing:
            raise InvalidRequest(
                f"The gate needs the expert {sorted(missing)[0]}.", "Add it, or choose another router."
            )
        if gate.reads_whole_prompt and run.prompt_tokens > WHOLE_PROMPT:
            raise InvalidRequest(
                f"This router reads the prompt in one piece, of at most {WHOLE_PROMPT:,} tokens. Yours has "
                f"{run.prompt_tokens:,}.",
                "Shorten it, or choose another router.",
            )
        embedding = None
        if gate.needs_embedding:
            began = time.monotonic()
            embedding = torch.from_numpy(self.encoder.encode([run.request.prompt])[0])
            run.timings["encode_s"] = time.monotonic() - began
        routing = gate_routing(
            gate,
            self.bank.names,
            prompt_tokens=run.prompt_tokens,
            embedding=embedding,
            pool=in_pool,
            device=self.base.model.device,
        )
        return self._held(run, routing)

    def _held(self, run: Run, routing: RowRouting) -> RowRouting:
        """Return `routing` with the weights that were set by hand in some layers, if any."""
        if not run.held:
            return routing
        spread = torch.from_numpy(run.over_bank(run.held)).to(self.base.model.device)
        return hold_layers(routing, spread, run.request.override_layers, run.bank_experts)
