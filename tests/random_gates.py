"""Gates with random parameters, for the tests of what every gate does and of what each paper says."""

from collections.abc import Sequence

import torch

from playground.routers.base import ROUTERS, Gate, GateRouter, Installed

NAMES = ("base", "alpha", "beta", "gamma")
GATES = [name for name in ROUTERS if issubclass(ROUTERS.get(name), GateRouter)]


def gate_kind(name: str) -> type[GateRouter]:
    """Return the class of the gate `name`."""
    kind = ROUTERS.get(name)
    assert issubclass(kind, GateRouter)
    return kind


def installed_experts(names: Sequence[str], *, layers: int, width: int, embedding_width: int) -> Installed:
    """Return experts with random unit directions and random unit descriptors. The first has no direction."""
    maker = torch.Generator().manual_seed(9)
    directions = torch.nn.functional.normalize(torch.randn(layers, len(names), width, generator=maker), dim=-1)
    directions[:, 0] = 0
    cards = torch.nn.functional.normalize(torch.randn(len(names), embedding_width, generator=maker), dim=-1)
    return Installed(tuple(names), cards.numpy(), lambda: directions)


def randomise(router: GateRouter) -> GateRouter:
    """Return `router` with random parameters, rounded as the stored float16 gives them back."""
    maker = torch.Generator().manual_seed(1)
    for parameter in router.gate.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=maker).half().float())
    return router


def weigh_pieces(gate: Gate, hidden: torch.Tensor, pieces: Sequence[int], *, embedding_width: int) -> torch.Tensor:
    """Return what `weigh_rows` returns, with the rows read in `pieces` (their lengths), as a long prompt is."""
    ramp = torch.nn.functional.normalize(torch.arange(1.0, embedding_width + 1), dim=0)
    runs = [gate.open(hidden.shape[2], ramp if gate.needs_embedding else None) for _ in range(hidden.shape[1])]
    made, start = [], 0
    for row, run in enumerate(runs):
        if gate.reads_final:
            gate.read_final(hidden[-1, row], run, first_pass=True)
    for tokens in pieces:
        piece = hidden[:, :, start : start + tokens]
        made.append(torch.stack([gate.weights(layer, of_layer, runs) for layer, of_layer in enumerate(piece)]))
        for row, run in enumerate(runs):
            if gate.reads_final:
                gate.read_final(piece[-1, row], run, first_pass=False)
            run.read += tokens
        start += tokens
    return torch.cat(made, dim=2)


def weigh_rows(gate: Gate, hidden: torch.Tensor, *, embedding_width: int, prompt_tokens: int = 3) -> torch.Tensor:
    """Return the (L, B, T, G) weights of one pass over whole rows (L, B, T, d), as the model would ask for them."""
    ramp = torch.nn.functional.normalize(torch.arange(1.0, embedding_width + 1), dim=0)
    embedding = ramp if gate.needs_embedding else None
    runs = [gate.open(prompt_tokens, embedding) for _ in range(hidden.shape[1])]
    if gate.reads_final:
        for row, run in enumerate(runs):
            gate.read_final(hidden[-1, row], run, first_pass=True)
    return torch.stack([gate.weights(layer, of_layer, runs) for layer, of_layer in enumerate(hidden)])
