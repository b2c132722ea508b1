import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.core.preferences import LabelledPair
from playground.core.values import Expert, Pool
from playground.errors import InvalidRequest
from playground.learn.labels import dataset
from playground.learn.labels.pairs import uniform_pair

EXPERTS = ("a", "b", "c")


def pair(prompt: str = "p", a: str = "a", b: str = "b", **options: float) -> LabelledPair:
    usage_a, usage_b = (np.eye(3, dtype=np.float32)[EXPERTS.index(name)] for name in (a, b))
    return LabelledPair(prompt, prompt, EXPERTS, usage_a, usage_b, 0.9, **options)


def embed(texts: list[str]) -> np.ndarray:
    rows = [np.random.default_rng(list(hashlib.sha256(text.encode()).digest())).normal(size=32) for text in texts]
    return np.array([row / np.linalg.norm(row) for row in rows], np.float32).reshape(len(texts), 32)


names = st.lists(st.text("abcdefgh", min_size=1, max_size=3), min_size=2, max_size=300)


@given(names=names)
def test_a_split_is_disjoint_complete_and_never_parts_a_group(names: list[str]) -> None:
    split = dataset.split_by_prompt(names)
    rows = np.concatenate([split.train, split.valid, split.test])
    assert sorted(rows) == list(range(len(names)))
    parts = [{names[i] for i in part} for part in (split.train, split.valid, split.test)]
    assert sum(map(len, parts)) == len(set(names))


@given(names=names, seed=st.integers(0, 99))
def test_a_split_depends_on_the_groups_alone(names: list[str], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(names))
    tested = {names[i] for i in dataset.split_by_prompt(names).test}
    shuffled = [names[i] for i in order]
    assert {shuffled[i] for i in dataset.split_by_prompt(shuffled).test} == tested


@pytest.mark.parametrize("count", [5, 12, 60, 199, 400, 3000])
def test_a_share_of_the_prompts_is_held_out(count: int) -> None:
    split = dataset.split_by_prompt([f"prompt {i}" for i in range(count)])
    least = 0.2 if count < dataset.MANY_GROUPS else 0.12
    assert least * count <= len(split.test) <= 0.35 * count + 1
    assert len(split.train) >= 0.6 * count


def test_with_many_prompts_a_group_never_moves_as_labels_arrive() -> None:
    few, more = ([f"prompt {i}" for i in range(count)] for count in (300, 900))
    before, after = (dataset.split_by_prompt(names) for names in (few, more))
    assert set(before.test) == {i for i in after.test if i < 300}


def test_near_duplicates_share_a_group() -> None:
    vectors = embed(["one", "two", "three", "four"])
    vectors[1] = vectors[0] + 0.01 * vectors[2]
    vectors[1] /= np.linalg.norm(vectors[1])
    found = dataset.groups(["one", "two", "three", "  ONE "], vectors[[0, 1, 2, 3]])
    assert found[0] == found[1] == found[3]
    assert found[2] != found[0]


def test_groups_agree_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [f"prompt {i}" for i in range(40)]
    vectors = embed([f"prompt {i % 13}" for i in range(40)])
    whole = dataset.groups(prompts, vectors)
    monkeypatch.setattr(dataset, "BLOCK", 7)
    assert dataset.groups(prompts, vectors) == whole
    assert len(set(whole)) == 13


def test_labels_that_say_nothing_about_routing_are_left_out() -> None:
    blended = LabelledPair(
        "x", "x", EXPERTS, np.array([0.5, 0.5, 0.0], np.float32), np.array([0.49, 0.51, 0], np.float32), 0.9
    )
    pairs = [pair("1"), pair("2", "c", "c"), blended, pair("3", "a", "c")]
    labels = dataset.build(pairs, embed)
    assert dataset.informative(labels, EXPERTS).tolist() == [0, 3]
    assert dataset.informative(labels, ("a", "b")).tolist() == [0], "an expert that the router does not know"


def test_each_prompt_is_embedded_once() -> None:
    asked: list[str] = []

    def encode(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return embed(list(texts))

    labels = dataset.build([pair("1"), pair("2"), pair("1")], encode)
    assert asked == ["1", "2"]
    assert (labels.embeddings[0] == labels.embeddings[2]).all()
    assert len(dataset.build([], encode)) == 0


def test_weights_have_mean_one_and_limits() -> None:
    weights = dataset.balanced_weights(np.array([1.0] * 50 + [1000.0, 0.0], np.float32))
    assert weights.max() == 5.0
    assert weights.min() == pytest.approx(0.1)
    assert dataset.balanced_weights(np.full(10, 7.0)).tolist() == [1.0] * 10


def test_the_hash_of_labels_knows_their_content_not_their_order() -> None:
    one, two = pair("1"), pair("2", weight=0.5)
    assert dataset.label_set_hash([one, two]) == dataset.label_set_hash([two, one])
    assert dataset.label_set_hash([one, two]) != dataset.label_set_hash([one, pair("2")])


def test_pairs_are_uniform_and_their_propensity_is_right() -> None:
    pool = Pool(tuple(Expert(name, "base", name, "", "x", 0) for name in "abcde"))
    rng, ready = np.random.default_rng(0), ("a", "b", "d", "e", "not in the pool")
    drawn = [uniform_pair(pool, rng, ready) for _ in range(6000)]
    counts = Counter(frozenset(couple[:2]) for couple in drawn)
    assert {round(propensity, 9) for *_, propensity in drawn} == {round(1 / 6, 9)}
    assert len(counts) == 6
    assert all(abs(count - 1000) < 150 for count in counts.values())
    assert abs(sum(first < second for first, second, _ in drawn) - 3000) < 200, "sides are fair"
    with pytest.raises(InvalidRequest):
        uniform_pair(pool, rng, ("a",))
