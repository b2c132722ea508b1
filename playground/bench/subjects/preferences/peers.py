"""What comparable libraries predict votes with, in their own form, on the same rows.

Arena style control (FastChat, Apache-2.0), and the two learned routers of RouteLLM, arXiv:2406.18665 (Apache-2.0):
matrix factorisation, and Bradley-Terry with weights by similarity of prompts. Constants are the published ones.
"""

import math

import numpy as np
import torch

from playground.bench.subjects.preferences.predicting import Columns
from playground.bench.subjects.preferences.votes import VoteSet
from playground.learn.labels.fitting import Fitting, LabelBatch
from playground.learn.labels.nuisance import BOLD, FENCE, HEADER, ITEM
from playground.learn.labels.objective import LABEL_OBJECTIVES
from playground.routers.prompt.linear import LinearProbe

STYLE_RIDGE = 0.5
WIDTH, EPOCHS, BATCH, RATE, DECAY, NOISE = 128, 100, 64, 3e-4, 1e-5, 0.1
WEIGHT = 10.0  # of a prompt: 10 times 10 to the power of its share of the largest cosine


def arena_style(votes: VoteSet) -> np.ndarray:
    """Return (N, 4): differences of length, headers, lists and bold, each (a - b) / (a + b + 1) over its spread."""
    seen: dict[str, tuple[int, ...]] = {}
    for pair in votes.pairs:
        for text in (pair.answer_a, pair.answer_b):
            plain = FENCE.sub("", text)
            seen[text] = (len(text.split()), *(len(pattern.findall(plain)) for pattern in (HEADER, ITEM, BOLD)))
    a = np.array([seen[pair.answer_a] for pair in votes.pairs], float)
    b = np.array([seen[pair.answer_b] for pair in votes.pairs], float)
    return np.asarray((a - b) / (a + b + 1), np.float32)


def style_control(train: Columns, rows: np.ndarray, test: Columns, wanted: np.ndarray) -> np.ndarray:
    """Return log odds (M,) by Bradley-Terry with four style columns."""
    known, asked = arena_style(train.votes)[rows], arena_style(test.votes)[wanted]
    spread = np.where(known.std(axis=0) > 0, known.std(axis=0), 1)
    batch = _batch(train, rows, np.ones(len(rows), np.float32), known / spread)
    return _bradley_terry(batch, _batch(test, wanted, np.ones(len(wanted), np.float32), asked / spread), STYLE_RIDGE)


def similarity_weighted(train: Columns, rows: np.ndarray, test: Columns, wanted: np.ndarray) -> np.ndarray:
    """Return log odds (M,): for each prompt, Bradley-Terry on votes weighted by how alike their prompts are."""
    known, asked = _embeddings(train)[rows], _embeddings(test)[wanted]
    found = np.zeros(len(wanted))
    for prompt in np.unique(test.votes.prompt[wanted]):
        of = np.flatnonzero(test.votes.prompt[wanted] == prompt)
        cosine = known @ asked[of[0]]
        weight = WEIGHT * 10 ** (cosine / max(float(cosine.max()), 1e-6))
        batch = _batch(train, rows, (weight / weight.mean()).astype(np.float32))
        found[of] = _bradley_terry(batch, _batch(test, wanted[of], np.ones(len(of), np.float32)), 1e-3)
    return found


def matrix_factorisation(train: Columns, rows: np.ndarray, test: Columns, wanted: np.ndarray) -> np.ndarray:
    """Return log odds (M,) by RouteLLM's bilinear model. It learns from votes without ties."""
    rows = rows[train.votes.target[rows] != 0.5]
    torch.manual_seed(0)
    experts, known = train.difference.shape[1], torch.from_numpy(_embeddings(train)[rows])
    models = torch.nn.Embedding(experts, WIDTH)
    projection = torch.nn.Linear(known.shape[1], WIDTH, bias=False)
    classifier = torch.nn.Linear(WIDTH, 1, bias=False)
    parameters = [*models.parameters(), *projection.parameters(), *classifier.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=RATE, weight_decay=DECAY)

    def odds(x: torch.Tensor, difference: torch.Tensor) -> torch.Tensor:
        unit = torch.nn.functional.normalize(models.weight, dim=1)
        return classifier((difference @ unit) * projection(x))[:, 0]

    difference = torch.from_numpy(train.difference[rows])
    target = torch.from_numpy(train.votes.target[rows].astype(np.float32))
    for _ in range(EPOCHS):
        for part in torch.randperm(len(rows)).split(BATCH):
            noisy = known[part] + NOISE * torch.randn(len(part), known.shape[1]) / math.sqrt(known.shape[1])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(odds(noisy, difference[part]), target[part])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    with torch.no_grad():
        asked = torch.from_numpy(_embeddings(test)[wanted])
        return np.asarray(odds(asked, torch.from_numpy(test.difference[wanted])).numpy(), float)


def _embeddings(columns: Columns) -> np.ndarray:
    if columns.embeddings is None:
        raise ValueError("this peer needs the prompts' embeddings")
    return np.asarray(columns.embeddings, np.float32)


def _batch(columns: Columns, rows: np.ndarray, weight: np.ndarray, style: np.ndarray | None = None) -> LabelBatch:
    experts = columns.difference.shape[1]
    return LabelBatch(
        vectors=torch.full((len(rows), 1), float(columns.votes.named)),
        difference=torch.from_numpy(columns.difference[rows]),
        target=torch.from_numpy(columns.votes.target[rows].astype(np.float32)),
        weight=torch.from_numpy(weight),
        reference=torch.full((len(rows), experts), -math.log(experts)),
        nuisance=None if style is None else torch.from_numpy(style.astype(np.float32)),
    )


def _bradley_terry(train: LabelBatch, test: LabelBatch, ridge: float) -> np.ndarray:
    kind = LABEL_OBJECTIVES.get("bt")
    objective = kind(kind.Options(ridge=max(ridge, 0.01)))
    experts = train.difference.shape[1]
    policy = LinearProbe([str(i) for i in range(experts)], torch.zeros(experts, 1), torch.zeros(experts))
    fitting = Fitting(policy, train, train.take(slice(0, 0)))
    for _ in fitting.descend(objective):
        pass
    return np.asarray(fitting.margins(objective, test).numpy(), float)
