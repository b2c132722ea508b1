"""Make the systems that an evaluation compares: the base, each expert alone, the even mix, and gates.

The mark of a system is a hash of everything that its answers depend on. So measured values can be kept and used again.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from playground.learn.fingerprints import fingerprint, of_adapters, of_gate
from playground.model import lora, routing, scoring
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.routing import RowRouting, gate_routing
from playground.routers.base import Gate

BASE, EVEN, ORACLE = "base", "uniform", "oracle"


@dataclass(frozen=True, eq=False)
class System:
    """One way to answer, over the experts `names` of a bank: by `constant` weights (N,), or by a `gate`."""

    name: str
    mark: str
    names: tuple[str, ...]
    device: torch.device
    constant: Tensor | None = None
    gate: Gate | None = None

    def open(self, prompt_tokens: int, embedding: Tensor | None) -> RowRouting:
        """Return the routing of a new run with the length and the embedding (d_z,) of its prompt."""
        if self.gate is None:
            return RowRouting(constant=self.constant)
        wanted = embedding if self.gate.needs_embedding else None
        return gate_routing(self.gate, self.names, prompt_tokens=prompt_tokens, embedding=wanted, device=self.device)


def systems_of(base: LanguageModel, bank: Bank, gates: Mapping[str, Gate]) -> dict[str, System]:
    """Return 'base', each expert, 'uniform', then the gates whose experts are all in the bank."""
    size, device = len(bank), base.model.device
    one_hot = torch.eye(size, device=device)
    even = torch.full((size,), 1.0 / size, device=device)
    code = [inspect.getsource(module) for module in (lora, routing, scoring)]
    format_of = f"{base.name} {base.dtype} {base.int8}"
    unrouted = fingerprint(format_of, *code, *(site.weight[: site.width] for site in bank.sites))
    adapters = of_adapters(bank)
    every = fingerprint(unrouted, *bank.names, *adapters)
    made = {BASE: System(BASE, unrouted, bank.names, device, one_hot[0])}
    for index, name in enumerate(bank.names[1:], start=1):
        made[name] = System(name, fingerprint(unrouted, adapters[index]), bank.names, device, one_hot[index])
    made[EVEN] = System(EVEN, fingerprint(every, EVEN), bank.names, device, even)
    for name, gate in gates.items():
        # the gate `uniform` is left out: as constant weights, the even mix is the same and quicker
        if name not in made and set(gate.experts) <= set(bank.names):
            made[name] = System(name, fingerprint(every, of_gate(gate)), bank.names, device, gate=gate)
    return made
