"""The measurement of fine-tunes: a small one learns, and sizes are measured apart."""

import pytest

from playground.bench.subjects.finetune import growth
from playground.bench.subjects.finetune.finetune import Finetune
from playground.errors import InvalidRequest
from playground.settings import Settings


def test_a_size_is_timed_and_learns() -> None:
    found = growth.one_size(600, 4, "dpo")
    assert found["held-out accuracy"] > 0.6
    assert found["seconds"] > 0
    assert found["megabytes more"] >= 0


def test_labels_on_one_prompt_share_its_embedding() -> None:
    _, lesson = growth.planted(1000, 3)
    assert lesson.labels.vectors.shape == (100, growth.WIDTH)
    assert lesson.labels.embeddings.shape == (1000, growth.WIDTH)


def test_an_unknown_objective_is_refused(settings: Settings) -> None:
    with pytest.raises(InvalidRequest, match="No label objective"):
        Finetune(objective="magic").run(settings, print)
