"""What sways votes besides the expert: columns change sign with the answers, and agreement counts other models."""

import numpy as np
import pytest

from playground.learn.labels.nuisance import GROUPS, AnswerPair, agreement_of, differences, scaled

PAIRS = [
    AnswerPair("sum?", "a", "b", "It is four.", "# Answer\n\n- **five**\n- **six**"),
    AnswerPair("sum?", "a", "c", "It is four.", "It is four indeed."),
    AnswerPair("name?", "a", "b", "Ann", "no no no no no no"),
]


@pytest.mark.parametrize("group", GROUPS)
def test_exchanging_the_answers_changes_the_sign(group: str) -> None:
    turned = [AnswerPair(p.prompt, p.model_b, p.model_a, p.answer_b, p.answer_a) for p in PAIRS]
    found = differences(PAIRS, [group])
    assert found.shape == (3, len(GROUPS[group]))
    np.testing.assert_allclose(differences(turned, [group]), -found, atol=1e-6)
    assert np.abs(found).sum() > 0


def test_an_answer_like_the_others_agrees_more() -> None:
    found = agreement_of(PAIRS)
    assert found["sum?", "It is four."][0] > found["sum?", PAIRS[0].answer_b][0]


def test_scaling_is_by_the_training_rows_and_keeps_zero() -> None:
    train, test = scaled(np.array([[2.0, 0], [-2, 0]]), np.array([[4.0, 1]]))
    np.testing.assert_allclose(train, [[1, 0], [-1, 0]])
    np.testing.assert_allclose(test, [[2, 1]])
    assert differences(PAIRS, []).shape == (3, 0)
