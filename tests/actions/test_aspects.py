"""A dial between two reasons of the votes: it moves the routed mix one way, and its setting can be kept."""

from typing import Any

import numpy as np
import pytest
from ulid import ULID

from playground.actions import aspects
from playground.actions.aspects import ANGLES, dial_of, keep_setting, open_dial
from playground.core.preferences import Verdict
from playground.core.values import Sampling
from playground.errors import InvalidRequest
from playground.learn.labels.trainer import log_weights
from playground.serving.versions import Versions
from playground.store.labels import add_rationale, create_comparison, vote
from playground.store.people import labeller
from playground.store.runs import save_run
from tests.actions.test_finetune import teaching
from tests.actions.test_judgement import answered, host
from tests.learn.conftest import NAMES, World

__all__ = ["host"]


def named_votes(host: Any, world: World, winner: str, reason: str, *, count: int = 30) -> None:
    """Store votes for one expert on unit questions, each with a reason."""
    rows = np.flatnonzero((world.kinds == "units") & ~world.is_probe)
    losers = [name for name in NAMES if name != winner]
    with host.database.write() as session:
        for number in range(count):
            prompt, ids = world.prompts[rows[number % len(rows)]], []
            for expert in (winner, losers[number % len(losers)]):
                events = answered(prompt, expert, 0.5, "override", None)
                save_run(session, events, prompt=prompt, sampling=Sampling(), base_model="tiny")
                ids.append(events[0].run_id)
            comparison = create_comparison(session, *ids, selection="manual", pair_propensity=None, left_run=ids[0])
            chosen, token = Verdict.A if ids[0] < ids[1] else Verdict.B, str(ULID())
            made = vote(session, comparison, chosen, labeller_id=labeller(session, "me"), client_token=token)
            add_rationale(session, made, "", [reason])


def test_a_reason_that_few_votes_give_has_no_dial(world: World, host: Any) -> None:
    named_votes(host, world, "base", "shorter", count=3)
    assert aspects.reasons(host) == [("shorter", 3)]
    with pytest.raises(InvalidRequest, match="Only 3 votes give the reason “shorter”"):
        open_dial(host, "linear", "shorter", "safer")
    with pytest.raises(InvalidRequest, match="the same"):
        open_dial(host, "linear", "shorter", "shorter")


def test_the_dial_moves_the_mix_one_way_and_its_setting_is_kept_exactly(
    world: World, versions: Versions, host: Any
) -> None:
    named_votes(host, world, "base", "shorter")
    named_votes(host, world, "math", "more correct")
    asked = teaching(world, versions)
    dial = dial_of(asked, "linear", ("shorter", "more correct"))
    assert dial.labels == (30, 30)
    assert 0 < dial.clashing.sum() < len(dial.prompts)
    mixes = np.array([dial.mix(angle) for angle in ANGLES])
    base, math = (mixes[:, dial.experts.index(name)] for name in ("base", "math"))
    assert (np.diff(base) < 0).all()
    assert (np.diff(math) > 0).all()
    assert (np.diff(dial.path[:, 0]) < 0).all()
    assert (np.diff(dial.path[:, 1]) > 0).all()
    assert (dial.front[:, 0].max() >= dial.path[:, 0]).all(), "the front reaches at least as far"

    version = keep_setting(host, dial, 30)
    policy, _ = versions.load("linear", version)
    lesson = world.lesson(world.labels("units", "base"))
    vectors = np.array(host.encoder.encode(list(dial.prompts)))
    assert np.exp(log_weights(policy, dial.prompts, vectors, lesson)) == pytest.approx(dial.weights(30), abs=1e-3)
    made = next(one for one in versions.history("linear") if one.id == version)
    assert (made.state, made.parent) == ("draft", dial.parent_id)
    assert "30°" in made.note
    with pytest.raises(InvalidRequest, match="has no dial"):
        dial_of(asked, "knn", ("shorter", "more correct"))
