"""Hash what a result depends on. A stored result is used again only when its inputs have the same hash."""

import hashlib
import inspect
import sys

import torch
from pydantic import BaseModel as Model
from torch import Tensor

from playground.model.bank import Bank
from playground.routers.base import Gate


def fingerprint(*parts: Tensor | str) -> str:
    """Return the SHA-256 of texts and of the bytes of tensors, in order."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            blob = part.encode()
        else:
            blob = part.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        digest.update(f"{len(blob)}\n".encode())
        digest.update(blob)
    return digest.hexdigest()


def of_adapters(bank: Bank) -> list[str]:
    """Return a hash of each expert's matrices, in bank order. The base comes first and has no matrices."""
    parts: list[list[Tensor]] = [[] for _ in bank.names]
    for site in bank.sites:
        owner, up = site.owner, site.up
        if owner is not None and up is not None:
            for index in range(1, len(bank)):
                parts[index] += [site.weight[site.width :][owner == index], up[owner == index]]
    return [fingerprint(*own) for own in parts]


def of_gate(gate: Gate) -> str:
    """Return a hash of the gate's parameters, settings and code."""
    tensors = [*gate.named_parameters(), *gate.named_buffers()]
    plain = {
        key: value.model_dump_json() if isinstance(value, Model) else value
        for key, value in vars(gate).items()
        if isinstance(value, int | float | str | tuple | Model) and not key.startswith("_")
    }
    code = inspect.getsource(sys.modules[type(gate).__module__])
    return fingerprint(code, repr(sorted(plain.items())), *(part for pair in tensors for part in pair))
