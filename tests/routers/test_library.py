import pytest

from playground.errors import ArtefactError, InvalidRequest
from playground.experts.base import TOOLS
from playground.learn.experts.recipes import RECIPES
from playground.learn.routers import fit_policy
from playground.routers.examples import folds, load_examples
from playground.routers.library import shipped_figure


def test_the_example_prompts_are_whole():
    examples = load_examples()
    prompts = [example.prompt for example in examples]
    assert len(prompts) == len(set(prompts))
    named = {example.expert for example in examples}
    # a new tool needs no example prompts: routers know it by its card
    assert {"base", "calculator", "units", *RECIPES} <= named <= {"base", *TOOLS, *RECIPES}
    for expert in named:
        own = [example for example in examples if example.expert == expert]
        assert 30 <= len(own) <= (110 if expert == "base" else 45)  # the base has the small talk of many languages too
        assert 0.15 <= sum(example.probe for example in own) / len(own) <= 0.25


def test_a_bad_line_is_named(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a", "expert": "base"}\n{"prompt": ""}\n')
    with pytest.raises(ArtefactError, match="Line 2"):
        load_examples(path)


def test_every_fold_has_some_of_each_expert(examples):
    part = folds(examples, 3)
    for fold in range(3):
        assert set(examples.answers[part == fold]) == {0, 1, 2, 3}


def test_fitting_what_is_shipped_gives_the_same_file_each_time(encoder, pool, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        "".join(
            f'{{"prompt": "{w} {i}", "expert": "{e}", "probe": {"true" if i % 5 == 2 else "false"}}}\n'
            for e, w in (("poetry", "rhyme"), ("sums", "add"))
            for i in range(20)
        )
    )
    for name in ("knn", "linear", "manual"):
        figures = fit_policy(name, encoder, pool, tmp_path / "a" / name, path=path)
        fit_policy(name, encoder, pool, tmp_path / "b" / name, path=path)
        a, b = (tmp_path / side / name / "params.safetensors" for side in "ab")
        assert a.read_bytes() == b.read_bytes()
        assert shipped_figure(name, tmp_path / "a" / name) == figures["figure"]
    assert figures["probes"] == 8
    assert figures["without_card"] == []


def test_experts_that_are_not_installed_are_fitted_and_named(encoder, pool, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        "".join(
            f'{{"prompt": "{w} {i}", "expert": "{e}", "probe": {"true" if i % 5 == 2 else "false"}}}\n'
            for e, w in (("poetry", "rhyme"), ("chess", "pawn"))
            for i in range(20)
        )
    )
    figures = fit_policy("knn", encoder, pool, tmp_path / "knn", path=path)
    assert figures["without_card"] == ["chess"]
    assert figures["probe_accuracy"] == 1.0


def test_an_unknown_router_cannot_be_fitted(encoder, pool, tmp_path):
    with pytest.raises(InvalidRequest):
        fit_policy("nobody", encoder, pool, tmp_path)


def test_what_is_shipped_has_a_figure():
    assert "held-out" in shipped_figure("knn")
    assert "held-out" in shipped_figure("linear")
    assert shipped_figure("manual") == ""
