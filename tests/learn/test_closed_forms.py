"""Where an optimum is known on paper, it is reached: one prompt, two experts, a share p of the votes for one."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from playground.learn.labels.fitting import Fitting, LabelBatch
from playground.learn.labels.games import exploitability, minimax_winner, preference_rounds, self_play
from playground.learn.labels.objective import LABEL_OBJECTIVES, LabelObjective
from playground.learn.labels.objectives.momentum import extrapolate
from playground.learn.labels.objectives.robust import flips_from_repeats
from playground.learn.labels.strength import bands, cross_fitted
from playground.routers.prompt.linear import LinearProbe

N, E, D = 60, 3, 5


def make(name: str, **options: object) -> LabelObjective:
    kind = LABEL_OBJECTIVES.get(name)
    return kind(kind.Options.of(options))


def optimum(name: str, target: float, *, between: float = 60.0, **options: object) -> float:
    """Return the difference of log weights with the lowest loss, by golden section: each loss here has one valley."""
    objective, even = make(name, **options), torch.zeros(1, 2).double()
    difference, one = torch.tensor([[1.0, -1.0]]).double(), torch.ones(1).double()

    def loss(h: float) -> float:
        return float(objective.loss(torch.tensor([[h / 2, -h / 2]]).double(), even, difference, target * one, one))

    low, high, ratio = -between, between, (math.sqrt(5) - 1) / 2
    for _ in range(80):
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return (low + high) / 2


@pytest.mark.parametrize(("share", "wanted"), [(0.6, 1.0), (0.8, 3.0), (1.0, 5.0)])
def test_identity_is_finite_where_all_agree(share: float, wanted: float) -> None:
    assert optimum("ipo", share, beta=0.1) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize(("share", "wanted"), [(0.8, 10.46), (1.0, 21.97), (0.5, 0.0)])
def test_conservative_margins_are_small(share: float, wanted: float) -> None:
    assert optimum("conservative", share, beta=0.1, epsilon=0.1) == pytest.approx(wanted, abs=0.01)


def test_robust_undoes_flips_of_a_known_share() -> None:
    """0.8 of true votes look like 0.74 when a tenth is flipped. The optimum is that of 0.8."""
    assert optimum("robust", 0.74, beta=0.1, epsilon=0.1) == pytest.approx(math.log(4) / 0.1, abs=0.01)
    assert flips_from_repeats(0.18) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["conservative", "robust"])
def test_without_noise_it_is_dpo_bit_for_bit(name: str) -> None:
    maker = torch.Generator().manual_seed(0)
    policy, reference, difference = (torch.randn(N, E, generator=maker) for _ in range(3))
    target = torch.rand(N, generator=maker)
    losses = [make(kind).loss(policy, reference, difference, target, torch.ones(N)) for kind in ("dpo",)]
    mine = make(name, epsilon=0).loss(policy, reference, difference, target, torch.ones(N))
    assert torch.equal(mine, losses[0])


def test_simpo_without_a_margin_is_dpo_from_even_weights() -> None:
    assert optimum("simpo", 0.8, beta=1, gamma=0) == pytest.approx(optimum("dpo", 0.8, beta=1), abs=1e-4)
    assert optimum("simpo", 0.5, beta=1, gamma=2) == pytest.approx(0, abs=1e-4)


def labels(seed: int = 0) -> LabelBatch:
    maker = torch.Generator().manual_seed(seed)
    x = torch.nn.functional.normalize(torch.randn(N, D, generator=maker), dim=1)
    order = torch.stack([torch.randperm(E, generator=maker)[:2] for _ in range(N)])
    difference = torch.eye(E)[order[:, 0]] - torch.eye(E)[order[:, 1]]
    won = torch.rand(N, generator=maker) < torch.sigmoid(3 * (difference * x[:, :E]).sum(1))
    return LabelBatch(x, difference, torch.where(won, 0.9, 0.25), torch.ones(N), torch.full((N, E), -math.log(E)))


def begun(rows: LabelBatch) -> Fitting:
    probe = LinearProbe([str(i) for i in range(E)], torch.zeros(E, D), torch.zeros(E))
    return Fitting(probe, rows, rows.take(slice(0, 0)))


def learned(name: str, rows: LabelBatch, **options: object) -> torch.Tensor:
    fitting, objective = begun(rows), make(name, beta=1, ridge=1, **options)
    assert len(list(objective.learn(fitting))) > 0
    return fitting.margins(objective, rows)


@pytest.mark.parametrize(("name", "options"), [("momentum", {"rounds": 1}), ("curriculum", {"stages": 1})])
def test_one_round_is_dpo(name: str, options: dict[str, object]) -> None:
    torch.testing.assert_close(learned(name, labels(), **options), learned("dpo", labels()), rtol=0, atol=2e-3)


def test_stages_are_a_partition_with_the_clear_labels_first() -> None:
    target = labels().target
    stages = make("curriculum", stages=3).stages(target)  # type: ignore[attr-defined]
    assert sorted(torch.cat(stages).tolist()) == list(range(N))
    means = [float((target[rows] - 0.5).abs().mean()) for rows in stages]
    assert means == sorted(means, reverse=True)
    backwards = make("curriculum", order="hard first").stages(target)  # type: ignore[attr-defined]
    assert float((target[backwards[0]] - 0.5).abs().mean()) == pytest.approx(means[-1])


@pytest.mark.parametrize(("alpha", "left"), [(0.0, 0.182), (0.3, 0.072), (0.6, 0.0065)])
def test_momentum_grows_a_constant_pull(alpha: float, left: float) -> None:
    """Four experts, one better by a score of 1, beta 10: what the others still have after 26 rounds."""
    at = last = fitted = torch.zeros(4, dtype=torch.float64)
    for _ in range(26):
        fitted = at + torch.tensor([0.1, 0, 0, 0])
        at, last = extrapolate(fitted, last, alpha), fitted
    assert 1 - float(torch.softmax(fitted, 0)[0]) == pytest.approx(left, rel=0.05)


def test_general_preferences_are_antisymmetric_and_gradients_hold() -> None:
    objective = make("gpm", beta=1)
    objective.place_heads(E, D)  # type: ignore[attr-defined]
    rows = labels()
    forms = objective.forms(rows.x)  # type: ignore[attr-defined]
    torch.testing.assert_close(forms, -forms.transpose(1, 2))
    assert float(forms.detach().abs().max()) > 0.1
    margins = objective.margins(rows.reference, rows)
    turned = objective.margins(rows.reference, replace(rows, difference=-rows.difference))
    torch.testing.assert_close(margins, -turned, rtol=0, atol=1e-6)


def test_spread_makes_odds_less_sure() -> None:
    objective, rows = make("gaussian", beta=1), labels()
    policy = rows.x[:, :E]
    plain = objective.margins(policy, rows)
    torch.testing.assert_close(plain, make("dpo", beta=1).margins(policy, rows))
    for offset in (0.0, 3.0):
        objective._heads = [torch.zeros(E, D), torch.full((E,), offset)]  # type: ignore[attr-defined]
        shrunk = objective.margins(policy, rows)
        assert bool((shrunk.abs() <= plain.abs()).all())
        assert float(shrunk.abs().sum()) < float(plain.abs().sum())
        plain = shrunk


def test_no_member_of_the_ensemble_sees_a_labels_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = replace(labels(), group=torch.arange(N) // 3)
    seen: list[tuple[set[int], set[int]]] = []
    twin = Fitting.twin

    def watched(self: Fitting, train: LabelBatch) -> Fitting:
        made = twin(self, train)
        margins = made.margins
        made.margins = lambda objective, asked: (
            (  # type: ignore[method-assign]
                seen.append((set(train.groups.tolist()), set(asked.groups.tolist())))
                if len(asked) < len(train)
                else None
            )
            or margins(objective, asked)
        )
        return made

    monkeypatch.setattr(Fitting, "twin", watched)
    for _ in cross_fitted(make("denoised", beta=1), begun(rows), folds=5, members=2):
        pass
    assert len(seen) >= 10
    assert all(not learned_from & asked for learned_from, asked in seen if asked - learned_from)


def test_bands_tell_contradicted_from_ambiguous() -> None:
    target = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.5])
    mean = torch.tensor([-3.0, 0.5, 2.0, -2.0, -3.0])
    assert bands(target, mean, torch.ones(5)).tolist() == [-1, 0, 1, 1, 0]


ROCK = np.array([[0.5, 0.9, 0.1], [0.1, 0.5, 0.9], [0.9, 0.1, 0.5]])
UNEVEN = np.array([[0.5, 0.6, 0.2], [0.4, 0.5, 0.9], [0.8, 0.1, 0.5]])


@pytest.mark.parametrize(("wins", "wanted"), [(ROCK, (1 / 3, 1 / 3, 1 / 3)), (UNEVEN, (0.5, 0.375, 0.125))])
def test_the_minimax_winner_is_that_of_the_paper(wins: np.ndarray, wanted: tuple[float, ...]) -> None:
    mix, value = minimax_winner(wins)
    np.testing.assert_allclose(mix, wanted, atol=1e-6)
    assert value == pytest.approx(0.5, abs=1e-6)
    assert exploitability(mix, wins) == pytest.approx(0, abs=1e-6)
    assert exploitability(self_play(wins[None])[0], wins) < 0.02


def test_a_winner_of_all_pairs_gets_everything() -> None:
    mix, _ = minimax_winner(np.array([[0.5, 0.6, 0.6], [0.4, 0.5, 0.9], [0.4, 0.1, 0.5]]))
    np.testing.assert_allclose(mix, (1, 0, 0), atol=1e-6)


def test_the_average_of_the_rounds_is_near_uniform_on_a_circle() -> None:
    odds = np.log(ROCK / (1 - ROCK))[None]
    mix = preference_rounds(odds, np.log(np.full((1, 3), 1 / 3)), beta=2.0, rounds=10)
    np.testing.assert_allclose(mix, 1 / 3, atol=0.03)
