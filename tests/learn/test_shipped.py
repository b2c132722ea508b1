"""The shipped prompt-level routers with the real encoder, on the example prompts kept out of their fit.

`tests/routers/everyday.jsonl` holds a hundred short everyday prompts in many languages, and who may answer each. None
is an example prompt, so no router is fitted on them.
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from playground.core.values import Context, Pool
from playground.encode.base import describe
from playground.experts.catalogue import load_catalogue
from playground.routers.base import ROUTERS, Policy
from playground.routers.library import SHIPPED
from playground.settings import ROOT
from tests.learn.conftest import NAMES, World


@pytest.mark.parametrize("name", ["knn", "linear"])
@pytest.mark.parametrize("missing", [(), ("medicine", "grammar", "science", "code", "safe", "general")])
def test_a_probe_goes_to_its_expert_whichever_others_are_installed(
    world: World, name: str, missing: tuple[str, ...]
) -> None:
    policy = ROUTERS.get(name).load(SHIPPED / name)
    assert isinstance(policy, Policy)
    pool = world.pool.select([expert for expert in NAMES if expert not in missing])
    cards = world.descriptors[[world.pool.index(expert) for expert in pool.names]]
    rows = np.flatnonzero(world.is_probe & np.isin(world.kinds, pool.names))
    chosen = [
        pool.names[int(policy.decide(Context(world.prompts[row], pool, world.vectors[row], cards)).weights.argmax())]
        for row in rows
    ]
    assert np.mean(np.array(chosen) == world.kinds[rows]) >= 0.8


EVERYDAY = [json.loads(line) for line in (ROOT / "tests/routers/everyday.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("name", ["knn", "linear"])
def test_small_talk_goes_to_no_specialist(world: World, name: str) -> None:
    policy = ROUTERS.get(name).load(SHIPPED / name)
    assert isinstance(policy, Policy)
    there = [expert for expert in load_catalogue(ROOT / "data" / "experts").experts if expert.ready]
    pool = Pool(tuple(there))
    cards = describe(SimpleNamespace(encode=world.encode), pool)  # type: ignore[arg-type]  # what it uses of an encoder
    prompts = [row["prompt"] for row in EVERYDAY]
    strangers = {}
    for row, vector in zip(EVERYDAY, world.encode(prompts), strict=True):
        decision = policy.decide(Context(row["prompt"], pool, vector, cards))
        chosen = pool.names[int(decision.weights.argmax())]
        assert chosen in decision.evidence.sentence  # the reason is that of the expert that answers
        if chosen not in row["fits"]:
            strangers[row["prompt"]] = chosen
    assert len(strangers) <= 0.1 * len(EVERYDAY), strangers


def test_the_everyday_prompts_are_new_to_the_routers(world: World) -> None:
    def bare(text: str) -> str:
        return text.casefold().strip(" .!?")

    asked = {bare(row["prompt"]) for row in EVERYDAY}
    assert len(asked) == len(EVERYDAY) == 100
    assert not asked & ({bare(prompt) for prompt in world.prompts} - {""})
