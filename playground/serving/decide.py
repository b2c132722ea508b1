"""Turn a decision into who answers: pure functions over weights (E,) of the pool, without model or events."""

from collections.abc import Sequence

import numpy as np

from playground.core.values import Decision, Pool, RunRequest, Scheme, Serve, Text, normalised
from playground.errors import InvalidRequest

SCHEMES: dict[Serve, Scheme] = {"top": "argmax", "sample": "sample", "mix": "mixture"}


def propensity_of(weights: np.ndarray, serve: Serve) -> tuple[np.ndarray, Scheme]:
    """Return the distribution (E,) that the answering expert is drawn from, and its scheme."""
    if serve == "top":
        weights = (np.arange(len(weights)) == weights.argmax()).astype(np.float32)
    return weights, SCHEMES[serve]


def overridden(override: Sequence[float]) -> Decision:
    """Return the decision that a person made by setting the weights. Raise InvalidRequest for unusable ones."""
    sentence = "You set these weights: the answer shows what that routing would have given."
    return Decision(weights=normalised(override), evidence=Text(sentence))


def answering_weights(propensity: np.ndarray, scheme: Scheme, seed: int) -> np.ndarray:
    """Return the weights (E,) float64 that answer: the propensity, or one expert drawn from it when sampling."""
    shares = propensity.astype(np.float64)
    if scheme != "sample":
        return shares
    drawn = np.random.default_rng(seed).choice(len(shares), p=shares / shares.sum())
    return np.asarray(np.arange(len(shares)) == drawn, np.float64)


def in_place_of(pool: Pool, refused: int, served: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Return the weights (E,) that answer in place of the expert at `refused`, which could not.

    A router that was sure of this expert says nothing of the others: what little they have is no reason to ask one. The
    base answers therefore. Another expert does when it was given more than an even share. Where the weights `served`
    are a blend, the blend stays and the base has the share of the expert that refused. Without a base in the pool, the
    others answer as they are weighed. Raise InvalidRequest when no expert of the pool can be mixed.
    """
    if not pool.mixable.any():
        title = pool.experts[refused].title
        raise InvalidRequest(f"{title} could not answer this.", "Add the base or another expert.")
    is_base = np.array([expert.kind == "base" for expert in pool.experts])
    blend = np.where(pool.mixable, served, 0.0)
    if blend.any():
        return blend + served[refused] * is_base
    best = int(np.where(pool.mixable, decided, -1.0).argmax())
    has_reason = decided[best] > 1 / len(pool) or not is_base.any()
    return np.asarray(np.arange(len(pool)) == best if has_reason else is_base, np.float64)


def check_request(request: RunRequest, pool: Pool, *, layers: int, heads: int) -> None:
    """Raise InvalidRequest for an override or an observed head that does not suit the pool or the model."""
    if request.override is not None and len(request.override) != len(pool):
        raise InvalidRequest(
            f"{len(request.override)} weights were given for {len(pool)} experts.", "Give one weight per expert."
        )
    if request.override_layers:
        _check_layers(request, pool, layers)
    observe = request.observe
    if observe and not (0 <= observe.layer < layers and 0 <= observe.head < heads):
        raise InvalidRequest(
            f"The model has no head {observe.head + 1} in layer {observe.layer + 1}.",
            f"Choose a layer from 1 to {layers} and a head from 1 to {heads}.",
        )


def _check_layers(request: RunRequest, pool: Pool, layers: int) -> None:
    if request.override is None or not all(0 <= layer < layers for layer in request.override_layers):
        raise InvalidRequest("These layers cannot be overridden.", f"Give weights, and layers from 1 to {layers}.")
    if np.any(np.asarray(request.override)[~pool.mixable] > 0):
        raise InvalidRequest("A tool does not act inside layers.", "Give its weight to others, or choose all layers.")
