"""Trains a gate through the frozen model on the experts' own data: resumable, with balance and expert use reported.

    loss = answer loss + a · E Σ_e p̄_e f̄_e + λ mean_t H(p_t) + c · cross-entropy to the row's own expert

p̄ is an expert's mean probability, f̄ its share of the top-k assignments; both are of one layer, averaged over layers.
Source: LoRA-Mixer arXiv:2507.00029 (frozen regime, Specialization Balance Loss; the sign of λ is chosen so that it
sharpens each token, as the paper's text says, not as its formula is printed). The last term is its hard phase, for the
gate alone.
"""

import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from playground.core.statistics import mean_interval
from playground.errors import InvalidRequest
from playground.learn.expert_trainer import Example, answer_loss, learning_rate, make_examples, validation_rows
from playground.learn.tasks import TASKS, sample_rows
from playground.model.base import BaseModel
from playground.model.lora import Bank
from playground.model.routing import Routing, RowRouting, routed
from playground.routers.artefact import add_to_card
from playground.routers.base import Gate
from playground.routers.gate.lora_mixer import LinearGate, LoraMixer, keep_top

log = logging.getLogger(__name__)
CHECKPOINT_EVERY = 20
VALIDATION_ROWS = 24


@dataclass(frozen=True)
class GateTraining:
    """`steps` of one row per domain, at most `rows` rows a domain; `balance` is a, `sharpen` λ, `domain` c."""

    steps: int = 150
    rows: int = 500
    rate: float = 1.5e-2
    balance: float = 1e-2
    sharpen: float = 1e-3
    domain: float = 0.3
    max_tokens: int = 192
    seed: int = 0


@dataclass(frozen=True)
class GateProgress:
    """One optimiser step: answer loss (nats per token), balance term (1 is even), mean entropy (nats), expert use."""

    step: int
    steps: int
    loss: float
    balance: float
    entropy: float
    use: dict[str, float]
    seconds: float


class Recorder(Gate):
    """A gate in training that keeps the dense probabilities of the last forward pass, one (B, T, G) per layer."""

    def __init__(self, gate: LinearGate) -> None:
        super().__init__()
        self.gate = gate
        self.experts = gate.experts
        self.dense: list[Tensor] = []

    def weights(self, layer: int, hidden: Tensor) -> Tensor:
        """As the gate's own, straight-through through the top-k cut."""
        dense = self.gate.probabilities(layer, hidden)
        self.dense.append(dense)
        return dense + (keep_top(dense, self.gate.top_k) - dense).detach()


def balance_terms(dense: Tensor, top_k: int) -> tuple[Tensor, Tensor, Tensor]:
    """(balance, entropy, use) of probabilities (N, G): E Σ p̄ f̄, mean entropy in nats, mean probabilities (G,).

    The balance is 1 when all experts are used evenly and E / k when one takes all; f̄ carries no gradient.
    """
    experts = dense.shape[-1]
    chosen = (keep_top(dense.detach(), top_k) > 0).float()
    load = chosen.sum(0) / chosen.sum()
    use = dense.mean(0)
    entropy = -(dense * dense.clamp_min(1e-9).log()).sum(-1).mean()
    return experts * (use * load).sum(), entropy, use


def domain_of(expert: str) -> str:
    """The task whose rows belong to `expert`; the base's is general instruction following."""
    return "general" if expert == "base" else expert


def domain_examples(
    base: BaseModel, experts: Sequence[str], data: Path, plan: GateTraining
) -> tuple[dict[str, list[Example]], dict[str, list[Example]]]:
    """(training, validation) examples by expert. Raises InvalidRequest for an expert whose data is not known."""
    training, validation = {}, {}
    for expert in experts:
        if domain_of(expert) not in TASKS:
            raise InvalidRequest(f"No training data is known for {expert}.", "Train the gate on the shipped experts.")
        task = TASKS[domain_of(expert)]
        rows, held = validation_rows(data, task, plan.seed)
        # longer rows are dropped below, so draw with room to spare
        drawn = make_examples(
            base, task, sample_rows(rows, plan.rows * 2, plan.seed), seed=plan.seed, limit=plan.max_tokens
        )
        training[expert] = drawn[: plan.rows]
        kept = make_examples(base, task, sample_rows(held, VALIDATION_ROWS * 4, plan.seed), seed=None, limit=320)
        validation[expert] = kept[:VALIDATION_ROWS]
    return training, validation


def train_gate(
    base: BaseModel,
    bank: Bank,
    *,
    data: Path,
    out: Path,
    checkpoints: Path,
    plan: GateTraining | None = None,
    options: LoraMixer.Options | None = None,
    progress: Callable[[GateProgress], None] | None = None,
) -> dict[str, Any]:
    """Train a LoRA-Mixer gate over all experts of `bank`, write it to `out`, and return its measured figures.

    Base and adapters are left as they are. Raises InvalidRequest when data is missing.
    """
    plan = plan or GateTraining()
    torch.manual_seed(plan.seed)
    router = LoraMixer(bank.names, options, layers=base.layers, width=base.width)
    training, validation = domain_examples(base, bank.names, data, plan)
    use = _optimise(router.gate, base, training, plan, folder=checkpoints / "lora_mixer", progress=progress)
    router.gate.requires_grad_(False)
    router.save(out)
    measured = measure(router.gate, base, bank, validation)
    losses = {name: round(values["mean"], 4) for name, values in measured.items()}
    figure = (
        f"answer loss on held-out rows of all domains: base {losses['base']:.3f}, even mix {losses['uniform']:.3f}, "
        f"this gate {losses['gate']:.3f}, right expert {losses['oracle']:.3f} nats per token"
    )
    add_to_card(out, figure=figure, measured=measured, training=asdict(plan), use=use)
    return {"figure": figure, "measured": measured, "use": use}


def _optimise(
    gate: LinearGate,
    base: BaseModel,
    training: dict[str, list[Example]],
    plan: GateTraining,
    *,
    folder: Path,
    progress: Callable[[GateProgress], None] | None,
) -> dict[str, float]:
    """Train in place; returns the mean use of each expert in the last steps."""
    gate.requires_grad_(True)
    optimiser = torch.optim.AdamW([gate.matrix], lr=plan.rate, weight_decay=0.0)
    began_at = _restore(gate, optimiser, folder, plan)
    order = random.Random(plan.seed)
    queues = {name: [order.choice(rows) for _ in range(plan.steps)] for name, rows in training.items()}
    use: dict[str, float] = {}
    recorder = Recorder(gate)
    for step in range(began_at, plan.steps):
        began = time.monotonic()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, plan.steps, plan.rate)
        batch = [queues[name][step] for name in gate.experts]
        recorder.dense.clear()
        with routed(Routing([RowRouting(gate=recorder)] * len(batch), len(gate.experts))):
            task_loss = answer_loss(base.model, batch)
        balance, entropy, shares, domain = _gate_losses(recorder, batch)
        loss = task_loss + plan.balance * balance + plan.sharpen * entropy + plan.domain * domain
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([gate.matrix], 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        use = dict(zip(gate.experts, [round(float(share), 4) for share in shares], strict=True))
        if progress:
            seconds = time.monotonic() - began
            made = GateProgress(step + 1, plan.steps, task_loss.item(), balance.item(), entropy.item(), use, seconds)
            progress(made)
        if (step + 1) % CHECKPOINT_EVERY == 0:
            _checkpoint(gate, optimiser, folder, plan, step + 1)
    return use


def _gate_losses(recorder: Recorder, batch: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(balance, entropy, use (G,), domain cross-entropy), means over layers; row i belongs to expert i; no padding."""
    balances, entropies, uses, domains = [], [], [], []
    for dense in recorder.dense:
        rows = [dense[i, : len(example.ids)] for i, example in enumerate(batch)]
        balance, entropy, use = balance_terms(torch.cat(rows), recorder.gate.top_k)
        own = torch.cat([row[:, i] for i, row in enumerate(rows)])
        balances.append(balance)
        entropies.append(entropy)
        uses.append(use.detach())
        domains.append(-own.clamp_min(1e-9).log().mean())
    return (
        torch.stack(balances).mean(),
        torch.stack(entropies).mean(),
        torch.stack(uses).mean(0),
        torch.stack(domains).mean(),
    )


def _checkpoint(
    gate: LinearGate, optimiser: torch.optim.Optimizer, folder: Path, plan: GateTraining, step: int
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    moments = optimiser.state_dict()["state"][0]
    (folder / "state.json").unlink(missing_ok=True)
    save_file(
        {"matrix": gate.matrix.detach(), **{key: torch.as_tensor(value) for key, value in moments.items()}},
        folder / "gate.safetensors",
    )
    state = {"step": step, "plan": asdict(plan), "experts": list(gate.experts)}
    (folder / "state.json").write_text(json.dumps(state))


def _restore(gate: LinearGate, optimiser: torch.optim.Optimizer, folder: Path, plan: GateTraining) -> int:
    """The step to go on from; 0 unless a checkpoint of the same plan and experts is there."""
    path = folder / "state.json"
    if not path.is_file():
        return 0
    state = json.loads(path.read_text())
    if state["plan"] != asdict(plan) or state["experts"] != list(gate.experts):
        return 0
    tensors = load_file(folder / "gate.safetensors")
    gate.matrix.data.copy_(tensors.pop("matrix"))
    optimiser.load_state_dict({"state": {0: tensors}, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(state["step"])


@torch.inference_mode()
def measure(
    gate: LinearGate, base: BaseModel, bank: Bank, examples: dict[str, list[Example]]
) -> dict[str, dict[str, float]]:
    """Answer loss (mean, low, high over rows, nats per token) of base, even mix, gate, and each row's own expert."""
    size = len(bank)
    gate.eval()
    even = RowRouting(constant=torch.full((size,), 1.0 / size))
    results: dict[str, list[float]] = {"base": [], "uniform": [], "gate": [], "oracle": []}
    for index, expert in enumerate(bank.names):
        own = RowRouting(constant=torch.eye(size)[index])
        plain = RowRouting(constant=torch.eye(size)[0])
        for example in examples[expert]:
            for name, routing in (
                ("base", plain),
                ("uniform", even),
                ("gate", RowRouting(gate=gate)),
                ("oracle", own),
            ):
                with routed(Routing([routing], size)):
                    results[name].append(float(answer_loss(base.model, [example])))
    return {
        name: dict(zip(("mean", "low", "high"), (round(v, 4) for v in mean_interval(values)), strict=True))
        for name, values in results.items()
    }
