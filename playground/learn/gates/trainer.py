"""Run the optimiser of a gate's training, and report balance and the use of experts. A killed training can go on.

The first phase, if the plan has one, works on kept hidden states. The model reads each row once, and the gate learns
the owner of each token (LoRA-Mixer's hard phase, for the gate alone). The second phase works through the model, with
answer loss and the recipe's terms. Adapters and base stay as they are. This module knows nothing of any one gate.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from playground.learn.checkpoint import Checkpoint
from playground.learn.gates.balance import balance_terms
from playground.learn.gates.data import Owned
from playground.learn.gates.recipe import GatePlan, GateRecipe, owner_index
from playground.learn.gates.states import kept_states
from playground.learn.losses import answer_loss, learning_rate, padded
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.routing import Routing, RowRouting, read_first, routed
from playground.routers.base import Gate, GateRun

HARD_BATCH = 48
LAST_STEPS = 10


Phase = Literal["hidden states", "model"]
CHECKPOINT_EVERY: dict[Phase, int] = {"hidden states": 100, "model": 5}  # half a minute of work each


@dataclass(frozen=True)
class GateProgress:
    """One optimiser step.

    `loss` is the recipe's `own_loss` on kept hidden states, or the answer loss in nats per token through the model.
    `balance` is 1 when all experts are used evenly. `entropy` is in nats. `own_weight` is the right expert's mean
    weight.
    """

    phase: Phase
    step: int
    steps: int
    loss: float
    balance: float
    entropy: float
    own_weight: float
    use: dict[str, float]
    seconds: float


class RecordingGate(Gate):
    """Wraps a gate in training, and keeps the weights that its losses read: one (B, T, G) per layer."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate
        self.experts = gate.experts
        self.kept: list[Tensor] = []

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """Return the weights (B, T, G) that act in a training step."""
        acting, read = self.gate.in_training(layer, hidden, runs)
        self.kept.append(read)
        return acting


class GateTrainer:
    """Trains one gate. `checkpoint` is where it saves itself, if anywhere. `last` holds its latest steps."""

    def __init__(
        self,
        gate: Gate,
        recipe: GateRecipe[Any],
        plan: GatePlan,
        base: LanguageModel,
        bank: Bank,
        *,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.gate = gate.train().requires_grad_(True)
        self.recipe = recipe
        self.plan = plan
        self.base = base
        self.bank = bank
        self.checkpoint = checkpoint
        self.last: deque[GateProgress] = deque(maxlen=LAST_STEPS)
        self.columns = None
        if tuple(gate.experts) != bank.names:
            self.columns = torch.tensor([bank.names.index(expert) for expert in gate.experts])

    def owners(self, owned: Owned) -> list[int]:
        """Return the gate's index of each token's expert."""
        mapped = {index: self._owner(owned, index) for index in set(owned.owners)}
        return [mapped[index] for index in owned.owners]

    def _owner(self, owned: Owned, index: int) -> int:
        return owner_index(self.recipe, owned, index, names=self.bank.names, experts=self.gate.experts)

    def fit(
        self,
        training: Mapping[str, Sequence[Owned]],
        two_part: Sequence[Owned],
        progress: Callable[[GateProgress], None] | None,
    ) -> dict[str, float]:
        """Run both phases. Return the mean use of each expert in the last step, or nothing without steps."""
        hard = torch.optim.AdamW(self.gate.parameters(), lr=self.plan.hard_rate, weight_decay=self.plan.decay)
        soft = torch.optim.AdamW(self.groups(), lr=self.plan.rate, weight_decay=0.0)
        phase, done = self._restore({"hidden states": hard, "model": soft})
        if phase == "hidden states":
            rows = [owned for rows in training.values() for owned in rows] + list(two_part)
            if done < self.plan.hard_steps:
                self._follow(self._hard_phase(rows, hard, done), hard, progress)
            done = 0
        self._follow(self._model_phase(training, two_part, soft, done), soft, progress)
        return self.last[-1].use if self.last else {}

    def _follow(
        self,
        steps: Iterator[GateProgress],
        optimiser: torch.optim.Optimizer,
        progress: Callable[[GateProgress], None] | None,
    ) -> None:
        """Make the steps, report each, and save a checkpoint after every CHECKPOINT_EVERY."""
        for made in steps:
            self.last.append(made)
            if progress:
                progress(made)
            if self.checkpoint and made.step % CHECKPOINT_EVERY[made.phase] == 0:
                self.checkpoint.save(self.gate.state_dict(), optimiser, phase=made.phase, step=made.step)

    def _restore(self, optimisers: Mapping[Phase, torch.optim.Optimizer]) -> tuple[Phase, int]:
        """Put gate and optimiser back as they were saved. Return the phase to go on with, and its steps made so far."""
        saved = self.checkpoint.load() if self.checkpoint else None
        if saved is None:
            return "hidden states", 0
        phase: Phase = saved.state["phase"]
        self.gate.load_state_dict(saved.tensors)
        saved.resume(optimisers[phase])
        return phase, int(saved.state["step"])

    def last_steps(self) -> dict[str, float]:
        """Return balance, entropy (nats) and the weight of the right expert, as means over the last steps."""
        if not self.last:
            return {}
        last = [made for made in self.last if made.phase == self.last[-1].phase]
        figures = ("balance", "entropy", "own_weight")
        return {name: round(sum(getattr(made, name) for made in last) / len(last), 4) for name in figures}

    def _progress(
        self, phase: Phase, step: int, loss: Tensor, terms: Mapping[str, Tensor], began: float
    ) -> GateProgress:
        """Return the report of the step `step`, counted from 0, which began at the time `began`."""
        shares = [round(share, 4) for share in terms["use"].tolist()]
        return GateProgress(
            phase=phase,
            step=step + 1,
            steps=self.plan.steps if phase == "model" else self.plan.hard_steps,
            loss=float(loss.detach()),
            balance=float(terms["balance"].detach()),
            entropy=float(terms["entropy"].detach()),
            own_weight=float(terms["own_weight"]),
            use=dict(zip(self.gate.experts, shares, strict=True)),
            seconds=time.monotonic() - began,
        )

    # --- through the model ----------------------------------------------------------------------------------

    def _model_phase(
        self,
        training: Mapping[str, Sequence[Owned]],
        two_part: Sequence[Owned],
        optimiser: torch.optim.Optimizer,
        done: int,
    ) -> Iterator[GateProgress]:
        """Yield the steps from `done` on. Each batch has rows of all experts, and some of two parts."""
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        order = random.Random(self.plan.seed)
        queues = {
            name: [order.choices(rows, k=self.recipe.draws(name)) for _ in range(self.plan.steps)]
            for name, rows in training.items()
        }
        pairs = [[order.choice(two_part) for _ in range(self.plan.spliced)] for _ in range(self.plan.steps)]
        for step in range(done, self.plan.steps):
            began = time.monotonic()
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, self.plan.steps, self.plan.rate * group["share"])
            rows = [owned for queue in queues.values() for owned in queue[step]] + pairs[step]
            loss, shares = self.step_loss(rows, (step + 1) / self.plan.steps)
            optimiser.zero_grad(set_to_none=True)
            loss["total"].backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            yield self._progress("model", step, loss["answer"], {**loss, "use": shares}, began)

    def runs(self, rows: Sequence[Owned]) -> list[GateRun]:
        """Return a run of the gate for each row, with the recipe's memory in it."""
        runs = []
        for owned in rows:
            run = self.gate.open(owned.example.start, owned.embedding if self.gate.needs_embedding else None)
            run.memory.update(self.recipe.memory(owned))
            runs.append(run)
        return runs

    def groups(self) -> list[dict[str, Any]]:
        """Return the parameter groups that learn, each with its `share` of the rate."""
        return [{"params": list(self.gate.parameters()), "share": 1.0}]

    def step_loss(self, rows: Sequence[Owned], done: float) -> tuple[dict[str, Tensor], Tensor]:
        """Return (losses with their weighted 'total', mean use (G,)) of a batch. `done` is the share of steps made."""
        return self.routed_loss(RecordingGate(self.gate), rows)

    def routed_loss(self, recorder: RecordingGate, rows: Sequence[Owned]) -> tuple[dict[str, Tensor], Tensor]:
        """Return (losses, mean use (G,)) of one batch that the model reads under `recorder`."""
        recorder.reads_final = self.gate.reads_final  # type: ignore[misc]  # a class setting, here of what it wraps
        recorder.read_final = self.gate.read_final  # type: ignore[method-assign]
        routing = Routing(
            [RowRouting(gate=recorder, run=run, columns=self.columns) for run in self.runs(rows)], len(self.bank)
        )
        examples = [owned.example for owned in rows]
        ids, _ = padded(examples, self.base.model.device)
        read_first(self.base.model, routing, ids)
        with routed(routing):
            answer = answer_loss(self.base.model, examples)
        flat = [torch.cat([layer[i, : len(owned.owners)] for i, owned in enumerate(rows)]) for layer in recorder.kept]
        owners = torch.cat([torch.tensor(self.owners(owned)) for owned in rows]).to(ids.device)
        terms = self.terms(flat, owners)
        plan = self.plan
        total = plan.answer * answer + plan.balance * terms["balance"] + plan.entropy * terms["entropy"]
        total = total + plan.own * terms["own"]
        return {"total": total, "answer": answer, **terms}, terms["use"]

    def terms(self, dense: Sequence[Tensor], owners: Tensor) -> dict[str, Tensor]:
        """Return balance, entropy, loss to the owner, weight of the owner, and use (G,), as means over layers.

        `dense` holds the weights (N, G) of each layer. `owners` (N,) are those of the same tokens.
        """
        top_k = self.gate.top_k or len(self.gate.experts)
        found: dict[str, list[Tensor]] = {"balance": [], "entropy": [], "own": [], "use": [], "own_weight": []}
        for layer in dense:
            balance, entropy, use = balance_terms(layer, top_k)
            for key, value in (("balance", balance), ("entropy", entropy), ("use", use.detach())):
                found[key].append(value)
            found["own"].append(self.recipe.own_loss(layer, owners))
            found["own_weight"].append(layer.detach().gather(1, owners.unsqueeze(1)).mean())
        return {key: torch.stack(values).mean(0) for key, values in found.items()}

    # --- on kept hidden states ------------------------------------------------------------------------------

    def _hard_phase(self, rows: Sequence[Owned], optimiser: torch.optim.Optimizer, done: int) -> Iterator[GateProgress]:
        """Yield the steps that fit the gate to each token's owner. Every other step leaves the prompt's prior out."""
        states = kept_states(self.base, self.bank, rows, plan=self.plan, experts=self.gate.experts, owners=self.owners)
        chooser = torch.Generator().manual_seed(self.plan.seed)
        draws = [torch.randint(len(states.rows), (HARD_BATCH,), generator=chooser) for _ in range(self.plan.hard_steps)]
        for step in range(done, self.plan.hard_steps):
            began = time.monotonic()
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(step, self.plan.hard_steps, self.plan.hard_rate)
            drawn = draws[step]
            runs = self.runs([states.rows[i] for i in drawn.tolist()])
            if step % 2 and self.gate.needs_embedding:
                for run in runs:
                    run.prior = torch.zeros(len(self.gate.experts))
            dense = [
                self.gate.dense(layer, states.hidden[layer, drawn], runs).flatten(0, 1)
                for layer in range(self.base.layers)
            ]
            terms = self.terms(dense, states.owners[drawn].flatten())
            optimiser.zero_grad(set_to_none=True)
            terms["own"].backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            yield self._progress("hidden states", step, terms["own"], terms, began)
