"""Trains a gate through the frozen model on the experts' own data: resumable, with balance and expert use reported.

First, where the plan says so, on kept hidden states: each row is read once with its own expert and the gate learns
whose token is whose (LoRA-Mixer's hard phase, for the gate alone). Then through the model: answer loss plus the
objective's terms, adapters and base untouched.
"""

import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from playground.encode.base import TextEncoder
from playground.learn.checkpoint import Checkpoint
from playground.learn.experts.trainer import answer_loss, learning_rate, padded
from playground.learn.fingerprints import fingerprint, of_adapters, of_gate
from playground.learn.gates.data import Owned, domains, spliced
from playground.learn.gates.measures import measure, sentence
from playground.learn.gates.objectives import OBJECTIVES, GatePlan, Objective, balance_terms
from playground.learn.gates.states import kept_states
from playground.model.bank import Bank
from playground.model.base import LanguageModel
from playground.model.routing import Routing, RowRouting, read_first, routed
from playground.routers.artefact import add_to_card
from playground.routers.base import ROUTERS, Gate, GateRouter, GateRun, RouterOptions
from playground.routers.gate.lora_mixer import PromptedLinearGate
from playground.routers.parts import SoftmaxGate, keep_top

HARD_BATCH = 48
LAST_STEPS = 10


Phase = Literal["hidden states", "model"]
CHECKPOINT_EVERY: dict[Phase, int] = {"hidden states": 100, "model": 5}  # half a minute of work each


@dataclass(frozen=True)
class GateProgress:
    """One optimiser step. `loss` is that of whose token is whose on kept hidden states, and the answer loss in nats per
    token through the model; `balance` is 1 when even, `entropy` in nats, `own_weight` the right expert's weight."""

    phase: Phase
    step: int
    steps: int
    loss: float
    balance: float
    entropy: float
    own_weight: float
    use: dict[str, float]
    seconds: float


class Recorder(Gate):
    """A gate in training that keeps its dense weights of the last pass, one (B, T, G) per layer."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate
        self.experts = gate.experts
        self.kept: list[Tensor] = []

    def weights(self, layer: int, hidden: Tensor, runs: Sequence[GateRun]) -> Tensor:
        """As the gate's own, straight-through through a top-k cut."""
        if not isinstance(self.gate, SoftmaxGate) or type(self.gate).weights is not SoftmaxGate.weights:
            made = self.gate.weights(layer, hidden, runs)
            self.kept.append(made)
            return made
        dense = self.gate.dense(layer, hidden, runs)
        self.kept.append(dense)
        return dense + (keep_top(dense, self.gate.top_k) - dense).detach()


def train_gate(
    name: str,
    base: LanguageModel,
    bank: Bank,
    encoder: TextEncoder,
    *,
    data: Path,
    out: Path,
    checkpoints: Path,
    plan: GatePlan | None = None,
    options: RouterOptions | None = None,
    progress: Callable[[GateProgress], None] | None = None,
) -> dict[str, Any]:
    """Train gate `name` over the experts of `bank`, write it to `out`, and return its measured figures.

    Base and adapters are left as they are. Raises InvalidRequest for a gate that is not trained, or missing data.
    """
    objective = OBJECTIVES.get(name)
    plan = plan or objective.plan
    torch.manual_seed(plan.seed)
    kind = ROUTERS.get(name)
    if not issubclass(kind, GateRouter):
        raise TypeError(f"{name} is no gate")
    experts = objective.experts(bank.names)
    router = kind(experts, options, layers=base.layers, width=base.width)
    training, validation = domains(
        base,
        encoder,
        bank.names,
        data,
        rows=lambda expert: objective.rows(expert, plan),
        limit=plan.max_tokens,
        seed=plan.seed,
        kept=checkpoints,
    )
    two_part = spliced(base, encoder, training, count=plan.rows, limit=2 * plan.max_tokens, seed=plan.seed)
    rows = [owned for rows in (*training.values(), two_part) for owned in rows]
    checkpoint = Checkpoint(
        checkpoints / f"gate-{name}",
        {
            "plan": asdict(plan),
            "gate": of_gate(router.gate),
            "base": base.name,
            "experts": [bank.names, of_adapters(bank)],
            "rows": fingerprint(*(f"{owned.example} {owned.owners}" for owned in rows)),
        },
    )
    trainer = GateTrainer(router.gate, objective, plan, base, bank, checkpoint=checkpoint)
    if isinstance(router.gate, PromptedLinearGate):
        start_from_rows(router.gate.prompt_matrix, trainer, training)
    use = trainer.fit(training, two_part if plan.spliced else [], progress)
    router.gate.eval().requires_grad_(False)
    objective.settle(router.gate)
    router.save(out)
    measured = measure(router.gate, base, bank, validation)
    figure = sentence(measured)
    add_to_card(out, figure=figure, measured=measured, training=asdict(plan), use=use)
    checkpoint.forget()
    return {"figure": figure, "measured": measured, "use": use, "last_steps": trainer.last_steps()}


def start_from_rows(matrix: Tensor, trainer: "GateTrainer", training: dict[str, list[Owned]]) -> None:
    """Begin a prompt matrix (G, d_z) at twelve times each expert's mean prompt, as descriptors do; zero without
    rows."""
    with torch.no_grad():
        matrix.zero_()
        for rows in training.values():
            for owned in rows:
                matrix[trainer.owner(owned)] += owned.embedding
        matrix.copy_(12.0 * torch.nn.functional.normalize(matrix, dim=1))


class GateTrainer:
    """One gate in training: its optimisers, its checkpoint if it has one, and how balanced it was last."""

    def __init__(
        self,
        gate: Gate,
        objective: Objective,
        plan: GatePlan,
        base: LanguageModel,
        bank: Bank,
        *,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.gate = gate.train().requires_grad_(True)
        self.objective = objective
        self.plan = plan
        self.base = base
        self.bank = bank
        self.checkpoint = checkpoint
        self.last: deque[GateProgress] = deque(maxlen=LAST_STEPS)
        self.columns = None
        if tuple(gate.experts) != bank.names:
            self.columns = torch.tensor([bank.names.index(expert) for expert in gate.experts])

    def owner(self, owned: Owned) -> int:
        """The gate's index of the row's expert."""
        return self.gate.experts.index(self.objective.owner(self.bank.names[owned.expert], owned.example.task))

    def owners(self, owned: Owned) -> list[int]:
        """The gate's index of each token's expert."""
        mapped = {
            index: self.gate.experts.index(self.objective.owner(self.bank.names[index], owned.example.task))
            for index in set(owned.owners)
        }
        return [mapped[index] for index in owned.owners]

    def fit(
        self,
        training: dict[str, list[Owned]],
        two_part: Sequence[Owned],
        progress: Callable[[GateProgress], None] | None,
    ) -> dict[str, float]:
        """Both phases; returns the mean use of each expert in the last step."""
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
        """Make the steps, tell of each and keep where they are."""
        for made in steps:
            self.last.append(made)
            if progress:
                progress(made)
            if self.checkpoint and made.step % CHECKPOINT_EVERY[made.phase] == 0:
                self.checkpoint.save(self.gate.state_dict(), optimiser, phase=made.phase, step=made.step)

    def _restore(self, optimisers: Mapping[Phase, torch.optim.Optimizer]) -> tuple[Phase, int]:
        """The phase to go on with and how many of its steps are made; gate and optimiser as they were then."""
        saved = self.checkpoint.load() if self.checkpoint else None
        if saved is None:
            return "hidden states", 0
        phase: Phase = saved.state["phase"]
        self.gate.load_state_dict(saved.tensors)
        saved.resume(optimisers[phase])
        return phase, int(saved.state["step"])

    def last_steps(self) -> dict[str, float]:
        """Balance, entropy (nats) and the weight of the right expert, means over the last steps made."""
        if not self.last:
            return {}
        last = [made for made in self.last if made.phase == self.last[-1].phase]
        figures = ("balance", "entropy", "own_weight")
        return {name: round(sum(getattr(made, name) for made in last) / len(last), 4) for name in figures}

    def _progress(
        self, phase: Phase, step: int, loss: Tensor, terms: Mapping[str, Tensor], began: float
    ) -> GateProgress:
        """What is told of the step numbered `step` from 0, begun at `began`."""
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
        """The steps from `done` on, each with rows of all experts and some of two parts."""
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        order = random.Random(self.plan.seed)
        queues = {
            name: [order.choices(rows, k=self.objective.draws(name)) for _ in range(self.plan.steps)]
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
        """A run of the gate for each row, told what the objective tells it."""
        runs = []
        for owned in rows:
            run = self.gate.open(owned.example.start, owned.embedding if self.gate.needs_embedding else None)
            run.memory.update(self.objective.memory(owned))
            runs.append(run)
        return runs

    def groups(self) -> list[dict[str, Any]]:
        """What learns: parameter groups with their `share` of the rate."""
        return [{"params": list(self.gate.parameters()), "share": 1.0}]

    def step_loss(self, rows: Sequence[Owned], done: float) -> tuple[dict[str, Tensor], Tensor]:
        """(losses with their weighted 'total', mean use (G,)) of one batch; `done` is the share of the steps made."""
        return self.routed_loss(Recorder(self.gate), rows)

    def routed_loss(self, recorder: Recorder, rows: Sequence[Owned]) -> tuple[dict[str, Tensor], Tensor]:
        """The losses of one batch read through the model under `recorder`."""
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
        """Balance, entropy, cross-entropy to the owner and use (G,), means over layers.

        From dense weights (N, G) of each layer and the owners (N,) of those tokens.
        """
        top_k = self.gate.top_k if isinstance(self.gate, SoftmaxGate) else len(self.gate.experts)
        found: dict[str, list[Tensor]] = {"balance": [], "entropy": [], "own": [], "use": [], "own_weight": []}
        for layer in dense:
            balance, entropy, use = balance_terms(layer, top_k)
            for key, value in (("balance", balance), ("entropy", entropy), ("use", use.detach())):
                found[key].append(value)
            found["own"].append(self.objective.own_loss(layer, owners))
            found["own_weight"].append(layer.detach().gather(1, owners.unsqueeze(1)).mean())
        return {key: torch.stack(values).mean(0) for key, values in found.items()}

    # --- on kept hidden states ------------------------------------------------------------------------------

    def _hard_phase(self, rows: Sequence[Owned], optimiser: torch.optim.Optimizer, done: int) -> Iterator[GateProgress]:
        """Fit the gate to whose token is whose, on hidden states read once; half of the draws do without the prompt."""
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
