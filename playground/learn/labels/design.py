"""Choose comparisons that tell most about a linear router: the D-optimal design, one batch at a time.

Source: Chaloner and Verdinelli, "Bayesian experimental design" (1995). A comparison's gain is
log(1 + p (1 - p) phi . H^-1 phi) / 2 for the Hessian H of what is known, and phi the outer product of the usage
difference and the prompt. After each choice, H^-1 is updated by Sherman and Morrison.
"""

import numpy as np

COORDINATES = 16  # leading ones of the prompts


def leading_coordinates(embeddings: np.ndarray, count: int = COORDINATES) -> np.ndarray:
    """Return (N, count): prompts (N, d) on their leading directions, not centred."""
    _, _, directions = np.linalg.svd(embeddings, full_matrices=False)
    return np.asarray(embeddings @ directions[:count].T)


def information(features: np.ndarray, probability: np.ndarray, ridge: float) -> np.ndarray:
    """Return the inverse Hessian (F, F) of a fit with this ridge on labels with `features` (N, F)."""
    hessian = (features * (probability * (1 - probability))[:, None]).T @ features
    hessian[np.diag_indices_from(hessian)] += ridge
    return np.asarray(np.linalg.inv(hessian))


def d_optimal(features: np.ndarray, probability: np.ndarray, inverse: np.ndarray, count: int) -> list[int]:
    """Return `count` different rows of the candidates `features` (M, F), the most telling ones first.

    `probability` (M,) is the present P(A beats B), `inverse` (F, F) the inverse Hessian, which stays as it was.
    """
    inverse, weight = inverse.copy(), probability * (1 - probability)
    open_rows = np.ones(len(features), bool)
    chosen = []
    for _ in range(min(count, len(features))):
        gain = np.where(open_rows, weight * np.einsum("mf,fg,mg->m", features, inverse, features, optimize=True), -1)
        row = int(gain.argmax())
        chosen.append(row)
        open_rows[row] = False
        moved = inverse @ features[row]
        inverse -= weight[row] * np.outer(moved, moved) / (1 + weight[row] * features[row] @ moved)
    return chosen
