"""Trains one LoRA expert on the shared base by PEFT: resumable, with validation, ending in a plain adapter folder.

The base stays frozen; only the answer's tokens carry loss. Knows nothing of routing. Source: LoRA, arXiv:2106.09685.
"""

import itertools
import json
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
from playground.learn.experts.card import greedy_replies, write_card
from playground.learn.experts.recipes import RECIPES, Recipe
from playground.learn.fingerprints import fingerprint
from playground.learn.rows import Row, sample_rows, split_rows
from playground.learn.tasks import TASKS, Task
from playground.model.base import LanguageModel

log = logging.getLogger(__name__)

CHECKPOINT_EVERY = 20
VALIDATE_EVERY = 50
VALIDATION_ROWS = 64
REPLIES = 400
REPLY_TOKENS = 64
SORTED_BATCHES = 8
MIN_PREFIX = 4
WARMUP_STEPS = 10
# A long memory of squared gradients keeps the size of the first steps, which learn the phrase of an answer, and damps
# the hundreds after them, which learn what to say in it.
BETAS = (0.9, 0.95)


@dataclass(frozen=True)
class TrainingProgress:
    """One optimiser step: mean loss of its answers in nats per token, validation loss where it was measured."""

    step: int
    steps: int
    loss: float
    validation_loss: float | None
    seconds: float


@dataclass(frozen=True)
class Example:
    """Token ids of prompt and answer; the loss counts from `start`. `prompt` is the text, `task` its data set."""

    ids: tuple[int, ...]
    start: int
    prompt: str = ""
    task: str = ""


def make_examples(
    base: LanguageModel,
    task: Task,
    rows: Sequence[Row],
    *,
    seed: int | None,
    limit: int,
    answer_tokens: int | None = None,
) -> list[Example]:
    """Tokenised rows of at most `limit` tokens, answers cut at `answer_tokens`; `seed` None uses the measuring
    template, else drawn ones.

    Rows without an answer of their own hold the base's reply under 'reply', and whether it ended under 'ended'.
    """
    chooser = None if seed is None else random.Random(seed)
    examples = []
    for row in rows:
        text = task.prompt(row, chooser)
        prompt = base.chat_ids(text, task.opening(row))
        answer = base.answer_ids(task.answer(row) if task.answer else row["reply"])
        if row.get("ended", True):
            answer = [*answer, base.tokenizer.eos_token_id]
        answer = answer[:answer_tokens]
        if len(prompt) + len(answer) <= limit:
            examples.append(Example(tuple(prompt + answer), len(prompt), text, task.name))
    return examples


def with_replies(base: LanguageModel, task: Task, rows: Sequence[Row], kept: Path) -> list[Row]:
    """`rows` with the base's own greedy reply to each, at most REPLY_TOKENS tokens; kept in the file `kept`."""
    prompts = [task.prompt(row) for row in rows]
    of = fingerprint(base.name, str(base.dtype), str(REPLY_TOKENS), *prompts)
    if kept.is_file():
        known = json.loads(kept.read_text())
        if isinstance(known, dict) and known["of"] == of:
            return [{**row, **reply} for row, reply in zip(rows, known["replies"], strict=True)]
    replies = [
        {"reply": text, "ended": ended} for text, ended in greedy_replies(base, base.model, prompts, REPLY_TOKENS)
    ]
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({"of": of, "replies": replies}))
    return [{**row, **reply} for row, reply in zip(rows, replies, strict=True)]


def balanced_rows(rows: Sequence[Row], seed: int) -> list[Row]:
    """All rows, and those of the rarer answers again until every answer is there as often."""
    groups: dict[str, list[Row]] = {}
    for row in sample_rows(rows, len(rows), seed):
        groups.setdefault(row["answer"], []).append(row)
    most = max(map(len, groups.values()))
    return [row for answer in sorted(groups) for row in itertools.islice(itertools.cycle(groups[answer]), most)]


def mixed_examples(
    base: LanguageModel, recipe: Recipe, data: Path, *, count: int, limit: int, seed: int, kept: Path
) -> tuple[list[Example], list[Example]]:
    """(training, validation) examples of a recipe's mix, about `count` and VALIDATION_ROWS, in the mix's shares.

    A task with fewer rows than its share gives what it has; replies of the base are kept in the folder `kept`.
    """
    training: list[Example] = []
    validation: list[Example] = []
    for name, share in recipe.mix:
        task = TASKS[name]
        rows, held = split_rows(data, task.folder, seed)
        rows = [row for row in rows if task.keep(row)]
        if task.balanced:
            # held rows too: a model taught that answers are as frequent pays for it where they are not
            rows, held = balanced_rows(rows, seed), balanced_rows(held, seed)
        wanted, wanted_held = round(count * share), max(4, round(VALIDATION_ROWS * share))
        if task.answer is None:
            rows = with_replies(base, task, sample_rows(rows, min(wanted, REPLIES), seed), kept / f"{name}-train.json")
            held = with_replies(base, task, sample_rows(held, wanted_held, seed), kept / f"{name}-held.json")
        # longer rows are dropped, so draw with room to spare
        cut = recipe.answer_tokens
        drawn = make_examples(
            base, task, sample_rows(rows, wanted * 3, seed), seed=seed, limit=limit, answer_tokens=cut
        )
        training += drawn[:wanted]
        drawn = make_examples(
            base, task, sample_rows(held, wanted_held * 3, seed), seed=None, limit=limit, answer_tokens=cut
        )
        validation += drawn[:wanted_held]
    return training, validation


def padded(examples: Sequence[Example], device: torch.device) -> tuple[Tensor, Tensor]:
    """(ids (B, T) long, answer mask (B, T) bool) of a right-padded batch; the mask marks the tokens that carry loss."""
    longest = max(len(example.ids) for example in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    counted = torch.zeros(len(examples), longest, dtype=torch.bool)
    for i, example in enumerate(examples):
        ids[i, : len(example.ids)] = torch.tensor(example.ids)
        counted[i, example.start : len(example.ids)] = True
    return ids.to(device), counted.to(device)


def shared_prefix(examples: Sequence[Example]) -> int:
    """How many tokens all prompts of a batch begin with alike: the chat template's, for the most part."""
    shortest = min(example.start for example in examples) - 1
    first = examples[0].ids
    same = (i for i in range(shortest) if any(example.ids[i] != first[i] for example in examples))
    return next(same, shortest)


def answer_loss(model: Any, examples: Sequence[Example], *, share_prefix: bool = False) -> Tensor:
    """Mean negative log-likelihood per answer token over a right-padded batch, in nats; see `token_losses`."""
    losses, _ = token_losses(model, examples, share_prefix=share_prefix)
    return losses.mean()


def row_losses(model: Any, examples: Sequence[Example]) -> list[float]:
    """Each row's mean negative log-likelihood per answer token, in nats."""
    losses, rows = token_losses(model, examples)
    sums = torch.zeros(len(examples), device=losses.device).index_add(0, rows, losses)
    return [float(value) for value in sums / rows.bincount(minlength=len(examples))]


def token_losses(model: Any, examples: Sequence[Example], *, share_prefix: bool = False) -> tuple[Tensor, Tensor]:
    """(losses (N,) in nats, rows (N,)) of all answer tokens of a right-padded batch; the head runs on those only.

    With `share_prefix` what all rows begin with is read once and its cache used by all, which is exact for a model
    that treats every row alike (one adapter, no gate) and saves a third to a half of short rows.
    """
    ids, counted = padded(examples, next(model.parameters()).device)
    body, head = language_parts(model)
    common = shared_prefix(examples) if share_prefix and len(examples) > 1 else 0
    cache = None
    if common >= MIN_PREFIX:
        cache = body(input_ids=ids[:1, :common], use_cache=True).past_key_values
        for layer in cache.layers:
            layer.keys = layer.keys.expand(len(examples), -1, -1, -1)
            layer.values = layer.values.expand(len(examples), -1, -1, -1)
        ids, counted = ids[:, common:], counted[:, common:]
    # padding stands on the right, where causal attention never looks: no mask, and a quicker kernel
    hidden = body(input_ids=ids, past_key_values=cache, use_cache=cache is not None).last_hidden_state[:, :-1]
    asked = counted[:, 1:]
    logits = head(hidden[asked]).float()
    losses = torch.nn.functional.cross_entropy(logits, ids[:, 1:][asked], reduction="none")
    return losses, asked.nonzero()[:, 0]


def language_parts(model: Any) -> tuple[Any, Any]:
    """(body, head) of a causal model, plain or wrapped by PEFT."""
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    return causal.get_decoder(), causal.get_output_embeddings()


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up, then a cosine to a tenth of the peak."""
    if step < WARMUP_STEPS:
        return peak * (step + 1) / WARMUP_STEPS
    share = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return peak * (0.1 + 0.45 * (1 + float(torch.cos(torch.tensor(share * torch.pi)))))


def attach_adapter(base: LanguageModel, recipe: Recipe) -> Any:
    """The base wrapped by PEFT with a fresh adapter as the recipe says."""
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

    `base` must not be shared with a running engine: PEFT puts its layers into it. Raises InvalidRequest for an unknown
    recipe or missing data.
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
    """`steps` batches of indices, epoch after epoch; each batch of similar lengths, for little padding."""
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
    recipe: Recipe,
    examples: list[Example],
    validation: list[Example],
    *,
    checkpoint: Checkpoint,
    seed: int,
    progress: Callable[[TrainingProgress], None] | None,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Adapter state with the lowest validation loss, and the losses reached."""
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


def _validate(model: Any, examples: list[Example]) -> float:
    """Mean answer loss over the validation examples, in nats per token."""
    model.eval()
    with torch.inference_mode():
        losses = [
            float(answer_loss(model, examples[i : i + 16], share_prefix=True)) for i in range(0, len(examples), 16)
        ]
    model.train()
    return sum(losses) / len(losses)
