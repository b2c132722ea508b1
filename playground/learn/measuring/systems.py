"""What an evaluation compares: the base, each expert alone, the even mix, and gates; each with a mark of what it is.

The mark is a hash of everything its answers depend on, so that what was measured can be kept and found again.
"""

import hashlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import BaseModel as Model
from torch import Tensor

from playground.model import lora, routing, scoring
from playground.model.bank import Bank
from playground.model.base import BaseModel
from playground.model.routing import RowRouting, gate_routing
from playground.routers.base import Gate

BASE, EVEN, ORACLE = "base", "uniform", "oracle"


@dataclass(frozen=True, eq=False)
class System:
    """One way to answer, over the experts `names` of a bank: weights (N,) that are `constant`, or a `gate`."""

    name: str
    mark: str
    names: tuple[str, ...]
    device: torch.device
    constant: Tensor | None = None
    gate: Gate | None = None

    def open(self, prompt_tokens: int, embedding: Tensor | None) -> RowRouting:
        """The routing of a new run whose prompt has that many tokens and that embedding (d_z,)."""
        if self.gate is None:
            return RowRouting(constant=self.constant)
        wanted = embedding if self.gate.needs_embedding else None
        return gate_routing(self.gate, self.names, prompt_tokens=prompt_tokens, embedding=wanted, device=self.device)


def systems_of(base: BaseModel, bank: Bank, gates: Mapping[str, Gate]) -> dict[str, System]:
    """'base', each expert, 'uniform', then the gates whose experts are all in the bank."""
    size, device = len(bank), base.model.device
    one_hot = torch.eye(size, device=device)
    even = torch.full((size,), 1.0 / size, device=device)
    code = [inspect.getsource(module) for module in (lora, routing, scoring)]
    format_of = f"{base.name} {base.dtype} {base.int8}"
    unrouted = _mark(format_of, *code, *(site.weight[: site.width] for site in bank.sites))
    adapters = _adapter_marks(bank)
    every = _mark(unrouted, *bank.names, *adapters)
    made = {BASE: System(BASE, unrouted, bank.names, device, one_hot[0])}
    for index, name in enumerate(bank.names[1:], start=1):
        made[name] = System(name, _mark(unrouted, adapters[index]), bank.names, device, one_hot[index])
    made[EVEN] = System(EVEN, _mark(every, EVEN), bank.names, device, even)
    for name, gate in gates.items():
        # the even mix is a gate too; as constant weights it is the same and quicker
        if name not in made and set(gate.experts) <= set(bank.names):
            made[name] = System(name, _mark(every, _gate_mark(gate)), bank.names, device, gate=gate)
    return made


def _adapter_marks(bank: Bank) -> list[str]:
    """Of each expert's matrices, in bank order; the base, first, has none."""
    parts: list[list[Tensor]] = [[] for _ in bank.names]
    for site in bank.sites:
        owner, up = site.owner, site.up
        if owner is not None and up is not None:
            for index in range(1, len(bank)):
                parts[index] += [site.weight[site.width :][owner == index], up[owner == index]]
    return [_mark(*own) for own in parts]


def _gate_mark(gate: Gate) -> str:
    """Of the gate's parameters, settings and code."""
    tensors = [*gate.named_parameters(), *gate.named_buffers()]
    plain = {
        key: value.model_dump_json() if isinstance(value, Model) else value
        for key, value in vars(gate).items()
        if isinstance(value, int | float | str | tuple | Model) and not key.startswith("_")
    }
    code = inspect.getsource(sys.modules[type(gate).__module__])
    return _mark(code, repr(sorted(plain.items())), *(part for pair in tensors for part in pair))


def _mark(*parts: Tensor | str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            blob = part.encode()
        else:
            blob = part.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        digest.update(f"{len(blob)}\n".encode())
        digest.update(blob)
    return digest.hexdigest()
