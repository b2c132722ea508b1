"""GLIDER: take the local vectors from the LoRA-Mixer gate and calibrate the threshold. Nothing is trained.

The calibration is our own, because the paper's threshold is for other embeddings. Ours separates prompts that one card
fits from prompts that no card fits: those of a field that is missing, and those of two fields in one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from playground.learn.gates.data import Owned
from playground.learn.gates.recipe import GateMaterial, GatePlan, GateRecipe, gate_recipe
from playground.routers.gate.glider import Glider
from playground.routers.gate.lora_mixer import LoraMixer

GRID = np.linspace(0.05, 0.8, 76)


@gate_recipe("glider")
class GliderRecipe(GateRecipe[Glider]):
    """A recipe without steps. `prepare` does all the work."""

    plan = GatePlan(steps=0, rows=40, max_tokens=320)

    def two_part_rows(self, plan: GatePlan) -> int:
        """Return twice the number of rows of an expert."""
        return 2 * plan.rows

    def prepare(self, router: Glider, material: GateMaterial) -> tuple[Glider, Mapping[str, Any]]:
        """Return the router with a calibrated threshold and the vectors of the shipped LoRA-Mixer gate.

        Raise ArtefactError when that gate cannot be read.
        """
        threshold, accuracy = calibrated(material.descriptors, material.validation, material.two_part)
        trained = LoraMixer.load(material.routers / "lora_mixer")
        vectors = trained.gate.matrix
        options = router.options.model_copy(
            update={
                "threshold": threshold,
                "embedding_width": material.descriptors.shape[1],
                "local": round(float(vectors.norm(dim=-1).mean()) / material.width**0.5, 3),
            }
        )
        made = Glider(router.experts, options, layers=router.layers, width=router.width)
        with torch.no_grad():
            for place, expert in enumerate(made.experts):
                if expert in trained.experts:
                    made.gate.vectors[:, place] = vectors[:, trained.experts.index(expert)]
        return made, {"threshold_balanced_accuracy": round(accuracy, 4)}


def calibrated(
    descriptors: np.ndarray, validation: Mapping[str, Sequence[Owned]], two_part: Sequence[Owned]
) -> tuple[float, float]:
    """Return the threshold of the best cosine that separates prompts that one card fits from others, and its accuracy.

    The others are the same prompts without their expert, and two experts' prompts in one. The accuracy is balanced.
    """
    inside = []
    outside = [float((descriptors @ owned.embedding.numpy()).max()) for owned in two_part]
    for rows in validation.values():
        for owned in rows:
            cosines = descriptors @ owned.embedding.numpy()
            inside.append(cosines.max())
            outside.append(np.delete(cosines, owned.expert).max())
    scores = [
        (float(np.mean(np.array(inside) >= value)) + float(np.mean(np.array(outside) < value))) / 2 for value in GRID
    ]
    best = int(np.argmax(scores))
    return round(float(GRID[best]), 3), scores[best]
