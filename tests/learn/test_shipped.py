"""The shipped prompt-level routers with the real encoder, on the example prompts kept out of their fit."""

import numpy as np
import pytest

from playground.core.values import Context
from playground.routers.base import ROUTERS, Policy
from playground.routers.library import SHIPPED
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
