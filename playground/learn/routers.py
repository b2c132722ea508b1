"""Fit the parameters that ship with a policy on the project's own examples, and measure them."""

from pathlib import Path
from typing import Any

import numpy as np

from playground.core.values import Context, Expert, Pool
from playground.encode.base import TextEncoder, describe
from playground.errors import InvalidRequest
from playground.routers.artefact import add_to_card
from playground.routers.base import ROUTERS, ExampleSet, Policy, RouterOptions
from playground.routers.examples import EXAMPLES, example_set, folds, load_examples
from playground.routers.library import SHIPPED

FOLDS = 5


def fit_policy(
    name: str,
    encoder: TextEncoder,
    pool: Pool,
    folder: Path | None = None,
    *,
    options: RouterOptions | None = None,
    path: Path = EXAMPLES,
) -> dict[str, Any]:
    """Refit the parameters shipped for policy `name`, write them to `folder`, and return the figures.

    The fit uses the examples without the probes. It is measured there by cross-validation, and on the probes. `pool`
    gives the cards of the experts. An expert that it lacks is fitted too. Its name stands in for its card, and
    `without_card` lists it. Raise InvalidRequest for a router that is not fitted on examples.
    """
    kind = ROUTERS.get(name)
    if not issubclass(kind, Policy):
        raise InvalidRequest(f"The router {name!r} is not fitted on examples.", "Choose a prompt-level router.")
    examples = load_examples(path)
    fitting = example_set(encoder, [example for example in examples if not example.probe])
    probes = example_set(encoder, [example for example in examples if example.probe])
    part = folds(fitting, FOLDS)
    hits, losses = [], []
    for fold in range(FOLDS):
        made = kind.from_examples(fitting.take(part != fold), options)
        right, loss = _measure(made, fitting.take(part == fold), encoder, pool)
        hits.append(right)
        losses.append(loss)
    shipped = kind.from_examples(fitting, options)
    right, loss = _measure(shipped, probes, encoder, pool)
    measured = {
        "examples": len(fitting),
        "cross_validated_accuracy": round(float(np.concatenate(hits).mean()), 4),
        "cross_validated_log_loss": round(float(np.concatenate(losses).mean()), 4),
        "probes": len(probes),
        "probe_accuracy": round(float(right.mean()), 4),
        "probe_log_loss": round(float(loss.mean()), 4),
        "without_card": sorted(set(fitting.experts) - {expert.name for expert in pool.experts if expert.ready}),
    }
    figure = "" if name == "manual" else f"right expert on {right.sum():.0f} of {len(probes)} held-out example prompts"
    target = folder or SHIPPED / name
    shipped.save(target)
    add_to_card(target, figure=figure, measured=measured)
    return {"figure": figure, **measured}


def _measure(policy: Policy, examples: ExampleSet, encoder: TextEncoder, pool: Pool) -> tuple[np.ndarray, np.ndarray]:
    """Return hits (N,) and log losses (N,) of the policy's decisions, over the experts that the examples name."""
    known = {expert.name: expert for expert in pool.experts if expert.ready}
    named = Pool(tuple(known.get(name) or _bare(name) for name in examples.experts))
    cards = describe(encoder, named)
    hits, losses = [], []
    for prompt, embedding, answer in zip(examples.prompts, examples.embeddings, examples.answers, strict=True):
        weights = policy.decide(Context(prompt=prompt, pool=named, embedding=embedding, descriptors=cards)).weights
        hits.append(float(np.argmax(weights) == answer))
        losses.append(-np.log(max(float(weights[answer]), 1e-6)))
    return np.array(hits), np.array(losses)


def _bare(name: str) -> Expert:
    """Return a stand-in for an expert that is not installed, so that figures do not depend on what is installed."""
    return Expert(name=name, kind="lora", title=name, description="", mark=name[:2].title(), slot=9, ready=False)
