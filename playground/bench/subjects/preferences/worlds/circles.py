"""Three experts that beat each other in a circle, the other way round in half of the topics."""

import numpy as np
import torch

from playground.bench.subjects.preferences.worlds.topics import TOPICS, Topics, batch_of, learned
from playground.learn.labels.games import exploitability, minimax_winner
from playground.learn.labels.metrics import agreement, log_loss

WINS, LABELS, FRESH = 0.9, 3000, 2000
RIDGE = 4.0  # with 1, the vectors learn the noise of 384 coordinates: accuracy 0.78 instead of 0.90


def circle(seed: int) -> dict[str, float]:
    """Return what Bradley-Terry and the general preference model predict, and how near the mixes are to uniform."""
    world = Topics.drawn(seed, experts=3)
    beats = np.array([[0.0, 1, -1], [-1, 0, 1], [1, -1, 0]]) * np.log(WINS / (1 - WINS))
    turn = np.where(np.arange(TOPICS) % 2 == 0, 1, -1)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        topic, x = world.prompts(count)
        difference = world.differences(count)
        odds = turn[topic] * np.array([beats[d.argmax(), d.argmin()] for d in difference])
        won = world.rng.random(count) < 1 / (1 + np.exp(-odds))
        return x, difference, won.astype(float)

    rows, fresh = batch_of(*drawn(LABELS)), drawn(FRESH)
    asked, target = batch_of(*fresh), fresh[2]
    found = {}
    for name, objective in (("bradley-terry", "dpo"), ("general preferences", "gpm"), ("minimax", "minimax")):
        fitting, made = learned(rows, objective, ridge=RIDGE)
        margin = fitting.margins(made, asked).double().numpy()
        found[f"accuracy, {name}"] = float(np.nanmean(agreement(margin, target)))
        found[f"log loss, {name}"] = float(log_loss(margin, target).mean())
        with torch.no_grad():
            mix = fitting.policy.log_policy(asked.x).exp().numpy()  # type: ignore[union-attr]
        found[f"furthest from uniform, {name}"] = float(np.abs(mix.mean(axis=0) - 1 / 3).max())
        if objective == "gpm":
            found["cyclicity"] = made.cyclicity(fitting, asked)  # type: ignore[attr-defined]
    wins = 1 / (1 + np.exp(-beats))
    exact, value = minimax_winner(wins)
    found["value of the game"] = value
    found["exploitability of the exact winner"] = exploitability(exact, wins)
    return found


def cycle(seeds: int) -> dict[str, float]:
    """Return the means over the seeds."""
    runs = [circle(seed) for seed in range(seeds)]
    return {name: round(float(np.mean([run[name] for run in runs])), 4) for name in runs[0]}
