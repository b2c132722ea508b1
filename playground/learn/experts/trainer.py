"""Train one LoRA expert on the shared base with PEFT, and write a plain adapter folder. A killed training can go on.

The base stays frozen. Only the tokens of answers carry loss. This module knows nothing of routing. Source: LoRA,
arXiv:2106.09685.
"""

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from playground.errors import InvalidRequest
from playground.learn.checkpoint import Checkpoint
from playground.learn.examples import TrainingExample, mixed_examples
from playground.learn.experts.card import write_card
from playground.learn.experts.recipes import RECIPES, ExpertRecipe
from playground.learn.fingerprints import fingerprint
from playground.learn.losses import answer_loss, learning_rate
from playground.model.base import LanguageModel

log = logging.getLogger(__name__)

CHECKPOINT_EVERY = 20
VALIDATE_EVERY = 50
SORTED_BATCHES = 8
# A long memory of squared gradients keeps the size of the first steps, which learn the phrase of an answer, and damps
# the hundreds after them, which learn what to say in it.
BETAS = (0.9, 0.95)


@dataclass(frozen=True)
class TrainingProgress:
    """One step: the mean loss of its answers in nats per token, and the validation loss if it was measured."""

    step: int
    steps: int
    loss: float
    validation_loss: float | None
    seconds: float


def attach_adapter(base: LanguageModel, recipe: ExpertRecipe) -> Any:
    """Return the base wrapped by PEFT with a fresh adapter as the recipe says."""
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.targets),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(base.model, config)


def train(
    name: str,
    base: LanguageModel,
    *,
    data: Path,
    out: Path,
    checkpoints: Path,
    seed: int = 0,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> dict[str, Any]:
    """Train expert `name` on `data`, write its adapter folder to `out`/name, and return its card.

    `base` must not be shared with a running engine, because PEFT puts its layers into it. Raise InvalidRequest for an
    unknown recipe or missing data.
    """
    recipe = RECIPES.get(name)
    torch.manual_seed(seed)
    kept = checkpoints / name
    examples, validation = mixed_examples(
        base, recipe, data, count=recipe.steps * recipe.batch, limit=recipe.max_tokens, seed=seed, kept=kept
    )
    if not examples or not validation:
        raise InvalidRequest(f"There is nothing to train {name} on: no row is short enough.", "Choose other data.")
    model = attach_adapter(base, recipe)
    drawn = fingerprint(*(repr(example) for example in [*examples, *validation]))
    checkpoint = Checkpoint(kept, {"recipe": asdict(recipe), "seed": seed, "base": base.name, "rows": drawn})
    best, losses = _optimise(model, recipe, examples, validation, checkpoint=checkpoint, seed=seed, progress=progress)
    set_peft_model_state_dict(model, best)
    card = write_card(model, base, recipe, data=data, out=out / name, seed=seed, losses=losses)
    checkpoint.forget()
    return card


def length_sorted_batches(lengths: Sequence[int], batch: int, steps: int, seed: int) -> list[list[int]]:
    """Return `steps` batches of indices, epoch after epoch. A batch has similar lengths, so it needs little padding."""
    order = random.Random(seed)
    queue: list[int] = []
    while len(queue) < steps * batch:
        queue += order.sample(range(len(lengths)), len(lengths))
    batches: list[list[int]] = []
    chunk = batch * SORTED_BATCHES
    for start in range(0, steps * batch, chunk):
        part = sorted(queue[start : min(start + chunk, steps * batch)], key=lengths.__getitem__)
        cut = [part[i : i + batch] for i in range(0, len(part), batch)]
        batches += order.sample(cut, len(cut))
    return batches


def _optimise(
    model: Any,
    recipe: ExpertRecipe,
    examples: list[TrainingExample],
    validation: list[TrainingExample],
    *,
    checkpoint: Checkpoint,
    seed: int,
    progress: Callable[[TrainingProgress], None] | None,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the adapter state with the lowest validation loss, and the validation losses before and after."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=recipe.rate, betas=BETAS, weight_decay=0.01)
    state: dict[str, Any] = {"step": 0, "best": None, "before": None}
    saved = checkpoint.load()
    if saved is not None:
        state = saved.state
        set_peft_model_state_dict(model, saved.tensors)
        saved.resume(optimiser)
    batches = length_sorted_batches([len(example.ids) for example in examples], recipe.batch, recipe.steps, seed)
    if state["before"] is None:
        state["before"] = _validate(model, validation)
    best_path = checkpoint.folder / "best.safetensors"
    model.train()
    for step in range(state["step"], recipe.steps):
        began = time.monotonic()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, recipe.steps, recipe.rate)
        batch = [examples[i] for i in batches[step]]
        loss = answer_loss(model, batch, share_prefix=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        measured = None
        if (step + 1) % VALIDATE_EVERY == 0 or step + 1 == recipe.steps:
            measured = _validate(model, validation)
            if state["best"] is None or measured < state["best"]:
                state["best"] = measured
                checkpoint.folder.mkdir(parents=True, exist_ok=True)
                save_file({k: v.contiguous() for k, v in get_peft_model_state_dict(model).items()}, best_path)
        if progress:
            seconds = time.monotonic() - began
            progress(TrainingProgress(step + 1, recipe.steps, float(loss.detach()), measured, seconds))
        if (step + 1) % CHECKPOINT_EVERY == 0:
            checkpoint.save(get_peft_model_state_dict(model), optimiser, **{**state, "step": step + 1})
    return load_file(best_path), {"validation_before": state["before"], "validation_after": state["best"]}


def _validate(model: Any, examples: list[TrainingExample]) -> float:
    """Return the mean answer loss of the validation examples, in nats per token."""
    model.eval()
    with torch.inference_mode():
        losses = [
            float(answer_loss(model, examples[i : i + 16], share_prefix=True)) for i in range(0, len(examples), 16)
        ]
    model.train()
    return sum(losses) / len(losses)
