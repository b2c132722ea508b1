"""Find out at the start what can be done with a base model, by trying it beside the library's own `generate`.

The embedded model is known and not tried. Any other is: alone, with a neighbour that joins and leaves, in pieces, with
a gate, and observed. What it cannot do is left out, and said. A base that would write other tokens than by itself is
refused.
"""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from playground.errors import ArtefactError
from playground.model.bank import Bank
from playground.model.base import LanguageModel, Support, keeps_keys_and_values
from playground.model.decode import Batch, Row
from playground.model.reading import new_state, read
from playground.model.routing import Routing, RowRouting, plain_routing
from playground.model.sampling import Drawn
from playground.routers.base import Gate, GateRun

log = logging.getLogger(__name__)
TEXTS = ("The river Nile is long, and its floods made the fields around it green every single year.", "Hi")
STEPS = 4
# how far a score may be from the library's, as a share of the spread of all scores: rounding, not another computation
CLOSE = {torch.float32: 0.01}
CLOSE_OTHERWISE = 0.3


@dataclass(frozen=True, eq=False)
class Reference:
    """Hold what the library alone makes of a text: `ids`, the tokens it `wrote`, and their scores (STEPS, V)."""

    ids: list[int]
    wrote: list[int]
    scores: Tensor


@dataclass(eq=False)
class _Follower:
    """Stand in for a sampler: keep the scores of each token, and write the token that is given."""

    scores: list[Tensor] = field(default_factory=list)

    def draw(self, logits: Tensor, forced: int | None = None) -> Drawn:
        """Return `forced` as the token."""
        self.scores.append(logits.float().cpu())
        return Drawn(forced or 0, 0.0, 0.0, (), ())


class _BaseAlone(Gate):
    """A gate that gives the base everything, so that the scores are those of the base."""

    def __init__(self, experts: Sequence[str]) -> None:
        super().__init__()
        self.experts = tuple(experts)

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return weights (B, T, N): 1 for the base."""
        weights = torch.zeros(*hidden.shape[:2], len(self.experts), device=hidden.device)
        weights[..., 0] = 1.0
        return weights


@torch.inference_mode()
def references(base: LanguageModel) -> list[Reference]:
    """Return what the library's `generate` makes of two texts. Call it before a bank changes the model.

    Raise ArtefactError when the model cannot write.
    """
    found = []
    for text in TEXTS:
        ids = base.chat_ids(text)
        prompt = torch.tensor([ids], device=base.model.device)
        try:
            made = base.model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=STEPS,
                min_new_tokens=STEPS,
                do_sample=False,
                pad_token_id=next(iter(base.end_ids), 0),
                return_dict_in_generate=True,
                output_logits=True,
            )
        except Exception as error:
            raise _refusal(base, f"the library itself cannot let it write ({error})") from error
        scores = torch.stack([scores[0].float().cpu() for scores in made.logits])
        found.append(Reference(ids, made.sequences[0, len(ids) :].tolist(), scores))
    return found


def support_of(base: LanguageModel, bank: Bank, expected: Sequence[Reference]) -> Support:
    """Return what can be done with `base` as it stands in `bank`. Raise ArtefactError when it cannot be used."""
    together = replace(base, support=Support(batches=True, piece=0))
    single = replace(base, support=Support(batches=False, piece=0))
    trouble = "its state is not a cache of keys and values" if not keeps_keys_and_values(base.model) else ""
    trouble = trouble or _trouble(together, bank, expected)
    if trouble:
        log.info("runs decode one at a time reason=%s", trouble)
        trouble = _trouble(single, bank, expected)
        if trouble:
            raise _refusal(base, trouble)
        support = single.support
    else:
        support = together.support
        pieces = replace(base, support=replace(support, piece=8))
        if not _trouble(pieces, bank, expected):
            support = replace(support, piece=Support().piece)
    made = replace(base, support=support)
    support = replace(
        support,
        gates=not _trouble(made, bank, expected, gate=_BaseAlone(bank.names)),
        attention=_shows_attention(made, bank, expected[0].ids),
    )
    log.info("base tried name=%s support=%s", base.name, support)
    return support


def _refusal(base: LanguageModel, reason: str) -> ArtefactError:
    return ArtefactError(
        f"The language model {base.name} cannot be used here: {reason}.",
        "Point PLAYGROUND_BASE_MODEL at another model. The About tab lists those that were tried.",
    )


def _trouble(base: LanguageModel, bank: Bank, expected: Sequence[Reference], gate: Gate | None = None) -> str:
    """Return why the scores differ from the library's when a second run joins and the first one leaves. Return ""
    when they do not.
    """
    try:
        followers = [_Follower(), _Follower()]
        rows = [
            Row(list(one.ids), _routing(base, bank, gate, one), follower, forced=deque(one.wrote))  # type: ignore[arg-type]
            for one, follower in zip(expected, followers, strict=True)
        ]
        batch = Batch(base, bank)
        batch.join(rows[0])
        batch.step()
        batch.join(rows[1])
        batch.step()
        batch.step()
        batch.leave(rows[0])
        batch.step()
    except Exception as error:  # noqa: BLE001  whatever it is, the base cannot be used so
        return f"{type(error).__name__}: {error}"
    for one, follower in zip(expected, followers, strict=True):
        off = _distance(torch.stack(follower.scores), one.scores)
        if not off < CLOSE.get(base.dtype, CLOSE_OTHERWISE):
            return f"its scores differ from the library's by {off:.2f} of their spread"
    return ""


def _routing(base: LanguageModel, bank: Bank, gate: Gate | None, one: Reference) -> RowRouting:
    if gate is None:
        return plain_routing(1, len(bank), base.model.device).rows[0]
    return RowRouting(gate=gate, run=GateRun(len(one.ids)))


def _distance(scores: Tensor, expected: Tensor) -> float:
    """Return how far scores (S, V) are from the expected ones, as a share of their spread. The median over tokens."""
    spread = expected.std(dim=-1).clamp_min(1e-9)
    return float(((scores - expected).square().mean(dim=-1).sqrt() / spread).median())


@torch.inference_mode()
def _shows_attention(base: LanguageModel, bank: Bank, ids: Sequence[int]) -> bool:
    """Return whether the attention of the base can be seen, in the layers that have it."""
    maps: list[tuple[int, Tensor]] = []
    row = plain_routing(1, len(bank), base.model.device).rows[0]

    def make(_start: int) -> Routing:
        return Routing([row], len(bank), on_attention=lambda layer, _, seen: maps.append((layer, seen)))

    def take(_start: int, _routing: Routing, _output: object) -> None: ...

    try:
        deque(read(new_state(base), row, bank, ids, make=make, take=take))
    except Exception as error:  # noqa: BLE001  then it is not shown
        log.info("attention cannot be seen reason=%s", error)
        return False
    shape = (1, base.heads, len(ids), len(ids))
    layers = [layer for layer, _ in maps]
    is_told_apart = set(layers) <= set(range(base.layers)) and len(layers) == len(set(layers))
    return (
        bool(maps)
        and is_told_apart
        and all(
            seen.shape == shape and bool((seen.sum(-1) < 1.001).all()) and not bool(seen.triu(1).any())
            for _, seen in maps
        )
    )
