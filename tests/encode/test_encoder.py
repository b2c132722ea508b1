import hashlib
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from playground.core.values import Expert, Pool
from playground.encode import encoder as module
from playground.encode.base import describe
from playground.encode.encoder import Encoder, check_weights
from playground.errors import ArtefactError
from playground.settings import Settings


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Encoder:
    return Encoder(Settings(cache_dir=tmp_path_factory.mktemp("cache"), encoder=""))


def test_vectors_are_units_and_alike_texts_are_near(encoder):
    texts = ["convert 5 miles to km", "how many kilometres are five miles", "I feel lonely tonight"]
    vectors = encoder.encode(texts)
    assert vectors.shape == (3, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.7 > 0.3 > vectors[0] @ vectors[2]


@pytest.mark.parametrize("text", ["", " ", "x" * 100_000, "word " * 20_000, "\x00🦜‮"])
def test_any_text_has_a_vector(encoder, text):
    vector = encoder.encode([text])
    assert np.isfinite(vector).all()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_nothing_in_nothing_out(encoder):
    assert encoder.encode([]).shape == (0, 384)


def test_a_text_is_encoded_once_and_the_memory_cannot_be_spoilt(encoder, monkeypatch):
    first = encoder.encode(["remember me"])
    first[:] = 0
    asked: list[str] = []
    compute = encoder._compute
    monkeypatch.setattr(encoder, "_compute", lambda texts: asked.extend(texts) or compute(texts))
    again = encoder.encode(["remember me", "a new one", "a new one"])
    assert asked == ["a new one"]
    assert np.linalg.norm(again[0]) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(again[1], again[2])


def test_the_memory_is_bounded(encoder, monkeypatch):
    monkeypatch.setattr(module, "CACHED_TEXTS", 3)
    encoder.encode([f"bounded {i}" for i in range(6)])
    assert len(encoder._memory) == 3


def test_many_threads_get_their_own_vectors(encoder):
    texts = [f"thread number {i} says something" for i in range(24)]
    with ThreadPoolExecutor(6) as threads:
        rows = list(threads.map(lambda text: encoder.encode([text])[0], texts))
    np.testing.assert_allclose(np.stack(rows), np.stack([encoder.encode([text])[0] for text in texts]), atol=1e-5)


def test_damaged_weights_are_noticed_and_a_passed_check_is_remembered(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"weights")
    good = hashlib.sha256(b"weights").hexdigest()
    check_weights(weights, good, tmp_path / "cache")
    assert json.loads((tmp_path / "cache" / "encoder-checked.json").read_text())["sha256"] == good
    check_weights(weights, good, tmp_path / "cache")
    weights.write_bytes(b"other weights")
    with pytest.raises(ArtefactError):
        check_weights(weights, good, tmp_path / "cache")


def test_a_folder_without_a_model_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(ArtefactError) as caught:
        Encoder(Settings(cache_dir=tmp_path, encoder=str(tmp_path)))
    assert "PLAYGROUND_ENCODER" in caught.value.remedy


def test_a_folder_can_take_the_embedded_models_place(tmp_path):
    other = Encoder(Settings(cache_dir=tmp_path, encoder=str(module.embedded_folder())))
    assert other.encode(["hello"]).shape == (1, 384)


def test_descriptors_are_the_mean_of_card_and_examples(encoder):
    expert = Expert("maps", "lora", "Maps", "Finds roads.", "Ma", 0, examples=("How do I get to Rome?",))
    expected = encoder.encode(["Maps. Finds roads.", "How do I get to Rome?"]).mean(axis=0)
    described = describe(encoder, Pool((expert,)))
    np.testing.assert_allclose(described[0], expected / np.linalg.norm(expected), atol=1e-5)
