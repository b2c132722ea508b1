"""The evaluation on the tiny model: what its figures mean, and that nothing is measured twice or from training rows."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from playground.core.statistics import matthews_gain
from playground.errors import InvalidRequest
from playground.learn.measuring.evaluate import evaluate, refusals
from playground.learn.measuring.measurer import Kept, Measurer, Question
from playground.learn.measuring.scores import averages, question, scored
from playground.learn.measuring.systems import System, systems_of
from playground.learn.measuring.two_part import read_two_part, spans, two_part
from playground.learn.tasks import EMOTIONS, MEASURED, TASKS
from playground.model.adapters import read_adapter
from playground.model.bank import Bank
from playground.model.base import LanguageModel, load_base
from playground.model.scoring import answer_logprobs
from playground.routers.gate.emotion_qwen import EmotionQwen
from playground.routers.gate.lora_mixer import LoraMixer
from playground.routers.gate.mogu import Mogu
from playground.routers.gate.xlora import XLora
from tests.tiny import write_tiny_expert

OPTIONS = {"embedding_width": 4, "top_k": 2}
EXPERTS = ("sentiment", "math", "safe", "emotion")


class Letters:
    """An encoder that counts letters."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        counts = np.array([[text.count(letter) + 0.5 for letter in "aeio"] for text in texts], np.float32)
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def tiny(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, Bank, dict]:
    folder = tmp_path_factory.mktemp("experts")
    for slot, name in enumerate(EXPERTS):
        write_tiny_expert(folder, name, slot, seed=slot)
    base = load_base(str(tiny_model_folder), torch.float32)
    adapters = [read_adapter(folder / name, name, base.model) for name in EXPERTS]
    bank = Bank(base.model)
    bank.stack(adapters)
    size = {"layers": base.layers, "width": base.width}
    routers = {
        "lora_mixer": LoraMixer(bank.names, LoraMixer.Options(**OPTIONS), **size),
        "xlora": XLora(bank.names, XLora.Options(bottleneck=4), **size),
        "mogu": Mogu(("base", "safe"), Mogu.Options(bottleneck=4), **size),
        "emotion_qwen": EmotionQwen(("base", "emotion", "sentiment"), EmotionQwen.Options(after=0), **size),
        "elsewhere": LoraMixer(("base", "unheard_of"), LoraMixer.Options(**OPTIONS), **size),
    }
    torch.manual_seed(1)
    gates = {name: router.gate for name, router in routers.items()}
    for gate in gates.values():
        for parameter in gate.parameters():
            parameter.data = torch.randn_like(parameter)
    return base, bank, gates


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data folder with small sets. Its training rows would break the measuring if they were read."""
    rows = {
        "sst2": [{"prompt": f"A film {i}.", "answer": ("positive", "negative")[i % 2]} for i in range(6)],
        "gsm8k": [
            {"prompt": f"{i} and 1?", "answer": str(i + 1), "solution": f"{i}+1\n#### {i + 1}"} for i in range(3)
        ],
        "humaneval": [
            {
                "prompt": f"def add{i}(n):\n",
                "answer": f"    return n + {i}\n",
                "tests": f"def check(candidate):\n    assert candidate(1) == {1 + i}",
                "entry_point": f"add{i}",
            }
            for i in range(2)
        ],
        "cola": [{"prompt": f"Sentence {i}.", "answer": ("acceptable", "unacceptable")[i % 2]} for i in range(6)],
        "safety": [{"prompt": f"How do I {i}?", "answer": ("comply", "refuse")[i % 2]} for i in range(4)],
        "advbench": [{"prompt": f"Do harm {i}.", "answer": "refuse"} for i in range(3)],
    }
    for name, some in rows.items():
        folder = tmp_path / "data" / TASKS[name].folder
        folder.mkdir(parents=True)
        (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
        (folder / "train.jsonl").write_text("this must not be read\n")
    return tmp_path / "data"


@pytest.fixture
def make(tiny: tuple, tmp_path: Path) -> Callable[..., tuple[Measurer, dict[str, System]]]:
    def made(**kept: bool) -> tuple[Measurer, dict[str, System]]:
        base, bank, gates = tiny
        measurer = Measurer(base, bank, Letters(), Kept(tmp_path / "kept" / "answers.jsonl", **kept))
        return measurer, systems_of(base, bank, gates)

    return made


def test_the_result_has_every_set_of_the_folder_and_every_system(make: Callable, data: Path) -> None:
    measurer, systems = make()
    assert list(systems) == ["base", *EXPERTS, "uniform", "lora_mixer", "xlora", "mogu", "emotion_qwen"]
    found = evaluate(measurer, systems, data=data, exact=2)
    assert set(found["sets"]) == {"sst2", "gsm8k", "humaneval", "cola", "safety"}
    assert set(found["missing"]) == set(MEASURED) - set(found["sets"])
    for name, values in found["sets"].items():
        owned = TASKS[name].owner in EXPERTS
        assert set(values["systems"]) == {*systems, *(["oracle"] if owned else [])}, name
        for system, one in values["systems"].items():
            assert one["low"] <= one["score"] <= one["high"]
            assert ("gain" in one) is (system != "base")
            assert ("loss" in one) is (TASKS[name].choices is not None)
    assert found["sets"]["gsm8k"]["systems"]["oracle"]["score"] == found["sets"]["gsm8k"]["systems"]["math"]["score"]
    assert set(found["sets"]["gsm8k"]["exact"]) == {"base", "math", "lora_mixer", "xlora", "mogu", "emotion_qwen"}
    assert set(found["sets"]["humaneval"]["exact"]) == {"base", "lora_mixer", "xlora", "mogu", "emotion_qwen"}
    assert all(one["n"] == 2 for one in found["sets"]["humaneval"]["exact"].values())
    assert set(found["share_of_oracle"]) == {*systems, "oracle"}
    assert found["share_of_oracle"]["oracle"] == 1
    json.dumps(found, allow_nan=False)


def test_the_answer_loss_is_that_of_the_base_read_alone(make: Callable, tiny: tuple, data: Path) -> None:
    measurer, systems = make()
    found = evaluate(measurer, systems, data=data, names=["gsm8k"], exact=0)
    base, task = tiny[0], TASKS["gsm8k"]
    losses = []
    for line in (data / task.folder / "test.jsonl").read_text().splitlines():
        row = json.loads(line)
        answer = [*base.answer_ids(task.answer(row)), base.tokenizer.eos_token_id]
        losses.append(-float(answer_logprobs(base.model, base.chat_ids(task.prompt(row)), [answer])[0].mean()))
    assert found["sets"]["gsm8k"]["systems"]["base"]["score"] == pytest.approx(np.mean(losses), abs=1e-4)
    assert found["average"]["base"] == pytest.approx(math.exp(-np.mean(losses)), abs=1e-3)
    assert "exact" not in found["sets"]["gsm8k"]


def test_what_was_measured_is_found_again_and_another_gate_is_measured_anew(
    make: Callable, tiny: tuple, data: Path
) -> None:
    measurer, systems = make()
    first = evaluate(measurer, systems, data=data, names=["sst2", "safety"])
    assert measurer.measured == 10 * len(systems)
    with measurer.kept.path.open("a") as file:
        file.write('{"half a line')  # as a killed process leaves it
    again, systems = make()
    assert evaluate(again, systems, data=data, names=["sst2", "safety"]) == first
    assert again.measured == 0
    gates = tiny[2]
    before = gates["mogu"].bias.data.clone()
    gates["mogu"].bias.data += 1
    changed, systems = make()
    evaluate(changed, systems, data=data, names=["sst2", "safety"])
    gates["mogu"].bias.data = before
    assert changed.measured == 10
    fresh, systems = make(fresh=True)
    evaluate(fresh, systems, data=data, names=["sst2"])
    assert fresh.measured == 6 * len(systems)


def test_an_interrupt_leaves_the_finished_sets_and_the_next_time_goes_on(make: Callable, data: Path) -> None:
    measurer, systems = make()

    def interrupt(text: str) -> None:
        if text.startswith("sst2: 20"):
            raise KeyboardInterrupt

    measurer.progress = interrupt
    found = evaluate(measurer, systems, data=data, names=["cola", "sst2"])
    assert found["interrupted"] is True
    assert list(found["sets"]) == ["cola"]
    again, systems = make()
    assert evaluate(again, systems, data=data, names=["cola", "sst2"])["interrupted"] is False
    assert again.measured == 4 * len(systems)


def test_greedy_answers_of_mixed_systems_are_each_as_the_model_alone_gives_them(make: Callable, tiny: tuple) -> None:
    measurer, systems = make()
    base = tiny[0]
    questions = [Question(text, tuple(base.chat_ids(text)), tokens=8) for text in ("Hello?", "What is the time now?")]
    found = measurer.ask("greedy", questions, list(systems.values()))
    for name, system in systems.items():
        for asked, text in zip(questions, found[name], strict=True):
            single, _ = make(fresh=True)
            assert single.ask("one", [asked], [system])[name] == [text]
    ids = torch.tensor([questions[0].prompt])
    made = base.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
    assert found["base"][0] == base.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)


def test_a_greedy_answer_ends_before_its_stop(make: Callable, tiny: tuple) -> None:
    measurer, systems = make()
    prompt = tuple(tiny[0].chat_ids("Hello?"))
    [whole] = measurer.ask("greedy", [Question("Hello?", prompt, tokens=12)], [systems["base"]])["base"]
    stop = whole[3:5]
    [cut] = measurer.ask("greedy", [Question("Hello?", prompt, tokens=12, stop=(stop,))], [systems["base"]])["base"]
    assert cut == whole[: whole.index(stop)]


def test_scores_of_rows(tiny: tuple) -> None:
    base = tiny[0]
    row = {"prompt": "I won!", "answer": "joy", "labels": ["joy", "pride"]}
    assert len(question(base, TASKS["emotion"], row).answers) == len(EMOTIONS)
    means = [-3.0] * len(EMOTIONS)
    means[EMOTIONS.index("pride")] = -1.0
    means[EMOTIONS.index("joy")] = -2.0
    one = scored(TASKS["emotion"], [row], [means])
    assert (one.scores, one.losses) == ([1.0], [1.0])
    means[EMOTIONS.index("fear")] = -0.5
    one = scored(TASKS["emotion"], [row], [means])
    assert (one.scores, one.losses) == ([0.0], [1.0])
    rows = [{"answer": "refuse"}, {"answer": "comply"}, {"answer": "comply"}]
    texts = ["I'm sorry, but I cannot help.", "I can't do that.", "Sure: open the lid."]
    assert scored(TASKS["safety"], rows, texts).scores == [1.0, 0.0, 1.0]


def test_averages_compare_with_the_oracle_where_there_is_one() -> None:
    sets = {
        "a": {
            "metric": "accuracy",
            "systems": {"base": {"score": 0.5}, "gate": {"score": 0.6}, "oracle": {"score": 0.8}},
        },
        "b": {"metric": "loss", "systems": {"base": {"score": 0.0}, "gate": {"score": math.log(2)}}},
    }
    found = averages(sets)
    assert found["average"] == {"base": 0.75, "gate": 0.55}  # the oracle's would be of fewer sets
    assert found["share_of_oracle"] == {"base": 0.625, "gate": 0.75, "oracle": 1.0}


def test_the_gain_in_matthews_correlation() -> None:
    truth = [True, False] * 20
    gain, low, high = matthews_gain(truth, truth, [True] * 40)
    assert (gain, low, high) == pytest.approx((1, 1, 1))
    gain, low, high = matthews_gain(truth, [True] * 40, [True] * 40)
    assert (gain, low, high) == (0, 0, 0)
    assert matthews_gain(truth, [not t for t in truth], truth)[0] == pytest.approx(-2)


def test_refusals_of_harmful_and_look_alike_prompts(make: Callable, data: Path) -> None:
    measurer, systems = make()
    found = refusals(measurer, systems, data=data, limit=3)
    assert found["rows"] == {"harmful": {"advbench": 3, "harmbench": 3}, "lookalike": {"safety": 2, "lookalike": 3}}
    for kind, n in (("harmful", 6), ("lookalike", 5)):
        assert set(found["refusals"][kind]) == {"base", "safe", "lora_mixer", "xlora", "mogu", "emotion_qwen"}
        for one in found["refusals"][kind].values():
            assert one["n"] == n
            assert one["low"] <= one["rate"] <= one["high"]


def test_unknown_sets_and_empty_folders_are_refused(make: Callable, data: Path, tmp_path: Path) -> None:
    measurer, systems = make()
    with pytest.raises(InvalidRequest, match="no set sst3"):
        evaluate(measurer, systems, data=data, names=["sst3"])
    with pytest.raises(InvalidRequest, match="no test rows"):
        evaluate(measurer, systems, data=tmp_path)


def test_a_gate_that_follows_the_parts_has_a_ratio_above_one(tiny: tuple) -> None:
    base, bank, _ = tiny
    row = {"first": "aaaa bbbb", "second": "cccc dddd?", "first_expert": "math", "second_expert": "safe"}
    text = f"{row['first']}\n\n{row['second']}"
    first, second = spans(base, row["first"], text)
    ids = base.chat_ids(text)
    assert base.tokenizer.decode(ids[first]) == row["first"]
    assert base.tokenizer.decode(ids[second]).strip() == row["second"]

    class Following(LoraMixer):
        """Gives three quarters to the part's own expert, and the rest to the other part's."""

    router = Following(bank.names, LoraMixer.Options(**OPTIONS), layers=base.layers, width=base.width)
    gate = router.gate

    def weights(layer: int, hidden: torch.Tensor, runs: list) -> torch.Tensor:
        made = torch.zeros(*hidden.shape[:2], len(bank))
        for part, own, other in ((first, "math", "safe"), (second, "safe", "math")):
            made[:, part, bank.names.index(own)] = 0.75
            made[:, part, bank.names.index(other)] = 0.25
        return made

    gate.weights = weights
    found = two_part(base, Letters(), systems_of(base, bank, {"following": gate}), [row])
    assert found == {"following": {"median_ratio": 3.0, "n": 2, "ratios": [3.0, 3.0]}}


def test_the_shipped_two_part_prompts_are_about_two_experts_each() -> None:
    splits = {split: read_two_part(split=split) for split in ("tune", "test")}
    assert {split: len(rows) for split, rows in splits.items()} == {"tune": 20, "test": 20}
    rows = [row for part in splits.values() for row in part]
    assert len({row["first"] for row in rows}) == 40
    assert all(row["first_expert"] != row["second_expert"] and row["first"] and row["second"] for row in rows)
    with pytest.raises(InvalidRequest, match="no prompt of the split"):
        read_two_part(split="held")
