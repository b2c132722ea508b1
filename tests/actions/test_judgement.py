"""Judge a version: what drawn answers say about it, what decides beside it, and the labels that made it."""

from typing import Any

import numpy as np
import pytest
from ulid import ULID

from playground.actions import judgement
from playground.actions.judgement import RANDOM_RIVAL, SAME_RIVAL, judge, rule_of, set_shadow, shadow_report
from playground.core.events import Decided, Event, Finished, RunStarted
from playground.core.preferences import Verdict
from playground.core.values import Sampling, Scheme, Text
from playground.errors import InvalidRequest
from playground.serving.versions import Versions
from playground.settings import Settings
from playground.store.database import Database
from playground.store.decisions import sampled_answers
from playground.store.labels import create_comparison, vote
from playground.store.people import labeller
from playground.store.runs import save_run
from tests.actions.test_finetune import Encoder, job, weights
from tests.learn.conftest import NAMES, World


class Host:
    """The parts of a runtime that judging needs."""

    is_ready = True

    def __init__(self, world: World, versions: Versions) -> None:
        self.versions, self.pool, self.encoder = versions, world.pool, Encoder(world)
        self.settings: Settings = versions.settings
        self.database: Database = versions.database


@pytest.fixture
def host(world: World, versions: Versions) -> Any:
    return Host(world, versions)


def answered(
    prompt: str, expert: str, share: float, scheme: Scheme, shadow: tuple[str, list[float]] | None
) -> list[Event]:
    """Return the events of a run that `expert` answered, drawn with probability `share`."""
    run = str(ULID())
    used = np.eye(len(NAMES), dtype=np.float32)[NAMES.index(expert)]
    drawn = np.full(len(NAMES), (1 - share) / (len(NAMES) - 1), np.float32)
    drawn[NAMES.index(expert)] = share
    beside = {"shadow": shadow[0], "shadow_weights": tuple(shadow[1])} if shadow else {}
    decided = Decided(drawn, drawn, scheme, Text("So."), run_id=run, seq=1, at=0.0, **beside)
    return [
        RunStarted(prompt, "linear", "linear-some", "prompt", NAMES, 0, 2, 4, run_id=run, seq=0, at=0.0),
        decided,
        Finished("An answer.", used, 3, 5, {"total_s": 0.1}, "stop", run_id=run, seq=2, at=0.1),
    ]


def label(
    host: Host, prompt: str, winner: str, loser: str, *, scheme: Scheme = "override", pair: float | None = None
) -> None:
    """Store two runs of a prompt and a vote for the first one."""
    with host.database.write() as session:
        ids = []
        for expert in (winner, loser):
            events = answered(prompt, expert, 0.5, scheme, None)
            save_run(session, events, prompt=prompt, sampling=Sampling(), base_model="tiny")
            ids.append(events[0].run_id)
        selection = "manual" if pair is None else "uniform"
        comparison = create_comparison(session, *ids, selection=selection, pair_propensity=pair, left_run=ids[0])
        chosen = Verdict.A if ids[0] < ids[1] else Verdict.B
        token = str(ULID())
        vote(session, comparison, chosen, labeller_id=labeller(session, token), client_token=token)


def test_only_drawn_answers_count(host: Any) -> None:
    label(host, "one", "base", "math")  # a person chose both
    label(host, "two", "base", "math", scheme="argmax")
    label(host, "three", "base", "math", scheme="sample")
    label(host, "four", "units", "base", pair=2 / (len(NAMES) * (len(NAMES) - 1)))
    with host.database.read() as session:
        found = sampled_answers(session)
    assert {(one.prompt, one.taken, round(one.propensity, 3), one.is_pair) for one in found} == {
        ("three", "base", 0.5, False),
        ("three", "math", 0.5, False),
        ("four", "units", round(1 / len(NAMES), 3), True),
        ("four", "base", round(1 / len(NAMES), 3), True),
    }
    assert {round(one.reward, 3) for one in found if one.taken == "units"} == {0.9}
    assert {round(one.reward, 3) for one in found if one.taken == "math"} == {0.1}


def test_a_version_is_judged_by_drawn_pairs_beside_the_one_in_force(
    world: World, versions: Versions, host: Any
) -> None:
    """Plant: on unit questions the base always wins. A version that asks the base there is worth more."""
    *_, made = job(world, versions, world.labels("units", "base"), {"cap": 5}).run()
    rows = np.flatnonzero((world.kinds == "units") & ~world.is_probe)
    rng = np.random.default_rng(0)
    for number in range(120):
        prompt = world.prompts[rows[number % len(rows)]]
        one, two = rng.choice(len(NAMES), 2, replace=False)
        winner, loser = (one, two) if NAMES[two] != "base" else (two, one)
        label(host, prompt, NAMES[winner], NAMES[loser], pair=2 / (len(NAMES) * (len(NAMES) - 1)))
    found = judge(host, "linear", made.version)  # type: ignore[union-attr]
    [(words, value, now)] = found.values
    assert words == RANDOM_RIVAL
    assert value.rows == 240
    assert value.doubly_robust.value > 0.75
    assert value.doubly_robust.low > now.doubly_robust.high
    assert value.logged.value == pytest.approx(0.5)
    assert found.rule is not None
    assert found.rule.lines[0].is_met is False, "12 held-out labels are too few"
    with pytest.raises(InvalidRequest, match="not there"):
        judge(host, "linear", "nobody")


def test_too_few_drawn_answers_give_no_verdict(host: Any) -> None:
    label(host, "Convert 3 km to miles.", "base", "math", scheme="sample")
    [(words, value, _)] = judge(host, "linear", host.versions.current("linear")).values
    assert words == SAME_RIVAL
    assert not value.has_verdict
    assert value.rows == 2


def test_looks_at_the_same_held_out_labels_are_counted(world: World, versions: Versions, host: Any) -> None:
    labels = world.labels("units", "base")
    for cap in (0.1, 0.5):
        *_, made = job(world, versions, labels, {"cap": cap}).run()
    rule = rule_of(host, next(one for one in versions.history("linear") if one.id == made.version))  # type: ignore[union-attr]
    assert rule is not None
    assert "2 drafts were measured" in rule.lines[1].demand
    assert "0.5 nats" in rule.lines[3].demand
    shipped = next(one for one in versions.history("linear") if one.is_current)
    assert rule_of(host, shipped) is None


def test_a_shadow_decides_beside_and_ends_when_it_is_promoted(
    world: World, versions: Versions, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, made = job(world, versions, world.labels("units", "base"), {"cap": 5}).run()
    draft = made.version  # type: ignore[union-attr]
    serving = versions.current("linear")
    before = weights(world, versions, None)
    assert shadow_report(host, "linear") is None
    assert set_shadow(host, "linear", draft, "") is True
    beside = versions.beside("linear", serving)
    assert beside is not None
    assert beside[1] == draft
    assert versions.beside("linear", draft) is None, "it has no shadow itself"
    assert weights(world, versions, None).tobytes() == before.tobytes(), "it answers nobody"
    with pytest.raises(InvalidRequest, match="in force already"):
        versions.set_shadow("linear", serving)

    decisions = [("units", "base"), ("units", "base"), ("units", "units"), ("math", "base")]
    with host.database.write() as session:
        for served, shadowed in decisions:
            beside_weights = np.eye(len(NAMES))[NAMES.index(shadowed)].tolist()
            events = answered("3 km?", served, 0.9, "argmax", (draft, beside_weights))
            save_run(session, events, prompt="3 km?", sampling=Sampling(), base_model="tiny")
        plain = answered("4 km?", "units", 0.9, "argmax", None)
        save_run(session, plain, prompt="4 km?", sampling=Sampling(), base_model="tiny")
    report = shadow_report(host, "linear")
    assert report is not None
    assert (report.runs, report.differing) == (4, 3)
    assert report.flows == (("units", "base", 2), ("math", "base", 1))
    assert len(report.decisions) == 3
    monkeypatch.setenv("SPACE_ID", "me/playground")
    host.settings = host.settings.model_copy(update={"admin_password": "x"})
    public = shadow_report(host, "linear")
    assert public is not None
    assert public.decisions == (), "strangers do not see the prompts of others"
    monkeypatch.delenv("SPACE_ID")
    versions.promote(draft, by="ann")
    assert versions.shadow("linear") is None


def test_a_second_press_ends_the_shadow(world: World, versions: Versions, host: Any) -> None:
    *_, made = job(world, versions, world.labels("units", "base")).run()
    draft = made.version  # type: ignore[union-attr]
    assert set_shadow(host, "linear", draft, "") is True
    assert set_shadow(host, "linear", draft, "") is False
    assert versions.shadow("linear") is None
    assert judgement.labels_of(host, "linear") == {}
