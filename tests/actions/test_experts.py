"""An adapter joins and leaves while the engine serves: the next run uses it, runs under way are not touched."""

import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from playground.actions import experts
from playground.core.checklist import Line
from playground.core.events import Event, Failed, Finished, RunStarted, TokenGenerated
from playground.core.values import Expert, RunRequest, Sampling
from playground.errors import InvalidRequest, NotReady
from playground.experts.adapters.adding import card_from
from playground.experts.base import TOOLS
from playground.serving.runtime import Runtime
from playground.settings import Settings
from tests.tiny import tiny_installation, write_tiny_expert

SHORT = Sampling(temperature=0, repetition_penalty=1.0, max_new_tokens=6)
LONG = Sampling(temperature=0, repetition_penalty=1.0, max_new_tokens=60)
ROUTERS = ("uniform", "arrow", "knn")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Iterator[Runtime]:
    """A runtime on the tiny model with two shipped experts, alpha and beta."""
    place = tmp_path_factory.mktemp("place")
    made = Runtime(tiny_installation(place, tiny_model_folder, ("alpha", "beta")))
    made.wait(300)
    fit_gates(made)
    yield made
    made.close()


def fit_gates(runtime: Runtime) -> None:
    """The shipped gates are for another base; give the engine ones of the tiny model's shape."""
    from playground.routers.base import ROUTERS as KINDS  # noqa: PLC0415  (imports torch)
    from playground.routers.base import GateRouter  # noqa: PLC0415  (as above)

    engine, resolve = runtime.engine, runtime.engine.resolve
    made = {}
    for name in ("uniform", "arrow", "glider"):
        kind = KINDS.get(name)
        assert issubclass(kind, GateRouter)
        made[name] = kind(engine.bank.names, layers=engine.base.layers, width=engine.base.width)
    engine.resolve = lambda request: (made[request.router], "made") if request.router in made else resolve(request)


@pytest.fixture
def poems(runtime: Runtime, tmp_path: Path) -> Iterator[Expert]:
    """An added expert, taken out again if it is still there."""
    yield add(runtime, tmp_path, "poems")
    if "poems" in runtime.pool.names:
        experts.remove(runtime, "poems", "")


def add(runtime: Runtime, place: Path, name: str, *, seed: int = 7) -> Expert:
    folder = write_tiny_expert(place, name, 6, seed=seed)
    candidate = experts.check(runtime, str(folder), "")
    assert candidate.checklist.ok, candidate.checklist
    card = card_from(candidate.card, description="Writes poems about the sea.", examples=["A poem about waves"])
    return experts.add(runtime, candidate, card, "")


def ended(events: Sequence[Event]) -> Finished:
    last = events[-1]
    assert isinstance(last, Finished), last
    return last


def text_of(events: Sequence[Event]) -> list[int]:
    return [event.token_id for event in events if isinstance(event, TokenGenerated)]


@pytest.mark.parametrize("router", ["uniform", "arrow", "glider", "knn"])
def test_the_next_run_can_use_an_added_expert(runtime: Runtime, poems: Expert, router: str) -> None:
    assert poems.is_added
    assert runtime.pool.names == ("base", "alpha", "beta", "poems", *TOOLS)
    assert runtime.engine.bank.names == ("base", "alpha", "beta", "poems")
    events = list(runtime.run(RunRequest("A poem about waves", router=router, sampling=SHORT, serve="mix")))
    started = events[0]
    assert isinstance(started, RunStarted)
    usage = dict(zip(started.pool, ended(events).usage, strict=True))
    assert usage["poems"] > 0.01
    alone = RunRequest("A poem about waves", router=router, sampling=SHORT, pool=("poems",))
    assert ended(list(runtime.run(alone))).usage == pytest.approx([1.0])


def test_the_glider_sends_its_own_prompt_to_a_newcomer(runtime: Runtime, poems: Expert) -> None:
    events = list(runtime.run(RunRequest("A poem about waves", router="glider", sampling=SHORT)))
    started = events[0]
    assert isinstance(started, RunStarted)
    assert started.pool[int(ended(events).usage.argmax())] == "poems"


def test_runs_under_way_go_on_untouched_while_an_expert_joins(runtime: Runtime, tmp_path: Path) -> None:
    requests = [RunRequest("hello there", router=router, sampling=LONG) for router in ("arrow", "uniform")]
    both = tuple(0.5 if name in ("alpha", "beta") else 0.0 for name in runtime.pool.names)
    requests.append(RunRequest("hello there", router="manual", sampling=LONG, override=both))
    expected = [text_of(list(runtime.run(request))) for request in requests]
    runs = [runtime.run(request) for request in requests]
    seen: list[list[Event]] = [[next(run) for _ in range(6)] for run in runs]
    try:
        add(runtime, tmp_path, "poems")
        for run, events in zip(runs, seen, strict=True):
            events.extend(run)
        for events, tokens in zip(seen, expected, strict=True):
            assert text_of(events) == tokens
            assert len(ended(events).usage) == len(both)
        later = list(runtime.run(requests[1]))
        assert len(ended(later).usage) == len(both) + 1
    finally:
        experts.remove(runtime, "poems", "")


def test_removing_waits_for_runs_and_leaves_nothing(runtime: Runtime, tmp_path: Path) -> None:
    before = text_of(list(runtime.run(RunRequest("hello there", router="arrow", sampling=SHORT))))
    expert = add(runtime, tmp_path, "poems")
    running = runtime.run(
        RunRequest("hello there", router="arrow", sampling=Sampling(temperature=0, max_new_tokens=400))
    )
    for event in running:
        if isinstance(event, TokenGenerated):
            break
    with pytest.raises(NotReady, match="under way"):
        experts.remove(runtime, "poems", "", patience_s=0)
    assert "poems" in runtime.pool.names
    patient = threading.Thread(target=lambda: experts.remove(runtime, "poems", ""))
    patient.start()
    running.close()
    patient.join()
    assert runtime.engine.bank.names == ("base", "alpha", "beta")
    assert not Path(expert.folder).exists()
    assert text_of(list(runtime.run(RunRequest("hello there", router="arrow", sampling=SHORT)))) == before
    with pytest.raises(InvalidRequest):
        experts.remove(runtime, "poems", "")
    with pytest.raises(InvalidRequest, match="came with"):
        experts.remove(runtime, "alpha", "")


def test_a_run_that_began_with_a_removed_expert_is_told_to_begin_again(runtime: Runtime, poems: Expert) -> None:
    run = runtime.run(RunRequest("hello", router="uniform", sampling=SHORT))
    assert isinstance(next(run), RunStarted)  # nothing was handed to the model yet
    experts.remove(runtime, "poems", "")
    last = list(run)[-1]
    assert isinstance(last, Failed)
    assert "poems" in last.message


def test_another_adapter_under_the_same_name_is_not_the_old_one(runtime: Runtime, tmp_path: Path) -> None:
    request = RunRequest("hello there", router="arrow", sampling=SHORT, pool=("poems", "alpha"))
    texts = []
    for seed in (7, 8):
        add(runtime, tmp_path / str(seed), "poems", seed=seed)
        weights = [event.weights for event in runtime.run(request) if isinstance(event, TokenGenerated)]
        texts.append([float(row[1]) for row in weights])
        experts.remove(runtime, "poems", "")
    assert texts[0] != texts[1]


def test_a_taken_name_and_a_wrong_base_are_refused(runtime: Runtime, poems: Expert, tmp_path: Path) -> None:
    candidate = experts.check(runtime, str(write_tiny_expert(tmp_path / "again", "other", 6, seed=3)), "")
    with pytest.raises(InvalidRequest, match="taken"):
        experts.add(runtime, candidate, card_from(candidate.card, name="poems"), "")
    assert not experts.check(runtime, str(Path(__file__).parent), "").checklist.ok
    real = Path(__file__).resolve().parents[2] / "data" / "experts" / "math"
    refused = experts.check(runtime, str(real), "").checklist
    assert [line.title for line in refused.lines if line.state == "fail"] == ["Target modules"]


def test_routers_say_what_they_were_not_trained_with(runtime: Runtime, poems: Expert) -> None:
    notes = {info.name: info.note for info in runtime.routers()}
    assert "Poems" in notes["linear"]
    assert "card" in notes["linear"]
    assert notes["arrow"] == notes["uniform"] == notes["manual"] == ""


def test_adapters_of_the_setting_are_added_once_and_kept(tiny_settings: Settings, tmp_path: Path) -> None:
    folder = write_tiny_expert(tmp_path / "mine", "poems", 6, seed=7)
    settings = tiny_settings.model_copy(update={"adapters": f"{folder}, /nowhere/lora"})
    first = Runtime(settings)
    first.wait(300)
    assert first.engine.bank.names == ("base", "alpha", "beta", "poems")
    refused = next(expert for expert in first.pool.experts if expert.name == "lora")
    assert not refused.ready
    assert "/nowhere" in refused.reason
    first.close()
    shutil.rmtree(folder)
    second = Runtime(settings)
    assert "poems" in second.pool.names  # before any model is loaded
    second.close()


def poison(folder: Path, size: float) -> Path:
    """Make one matrix of an adapter huge, though finite."""
    from safetensors.torch import load_file, save_file  # noqa: PLC0415  (imports torch)

    tensors = load_file(folder / "adapter_model.safetensors")
    first = min(name for name in tensors if "lora_B" in name)
    tensors[first] = tensors[first].sign() * size
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize("size", [1e6, 1e30])
def test_a_poisoned_adapter_never_joins(runtime: Runtime, tmp_path: Path, size: float) -> None:
    before = text_of(list(runtime.run(RunRequest("hello there", router="arrow", sampling=SHORT))))
    folder = poison(write_tiny_expert(tmp_path, "poison", 6, seed=9), size)
    candidate = experts.check(runtime, str(folder), "")
    failure = candidate.checklist.failure
    assert failure is not None
    assert "times as large as the base's own weights" in failure.detail
    with pytest.raises(InvalidRequest, match="times as large"):
        experts.add(runtime, candidate, card_from(candidate.card), "")
    assert runtime.engine.bank.names == ("base", "alpha", "beta")
    assert text_of(list(runtime.run(RunRequest("hello there", router="arrow", sampling=SHORT)))) == before


def test_an_adapter_is_tried_in_the_models_thread(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from playground.serving import loading  # noqa: PLC0415  (imports torch)

    threads: list[str] = []

    def tried(base: object, adapter: object) -> Line:
        threads.append(threading.current_thread().name)
        return Line("Trial", "fail", "it overflows.", "Train the adapter again.")

    monkeypatch.setattr(loading, "try_adapter", tried)
    candidate = experts.check(runtime, str(write_tiny_expert(tmp_path, "poems", 6, seed=7)), "")
    assert threads == ["model"]
    assert candidate.checklist.failure == Line("Trial", "fail", "it overflows.", "Train the adapter again.")


def test_a_poisoned_folder_is_not_ready_at_the_start(tiny_settings: Settings) -> None:
    poison(tiny_settings.experts_dir / "beta", 1e30)
    made = Runtime(tiny_settings)
    made.wait(300)
    try:
        assert made.engine.bank.names == ("base", "alpha")
        beta = made.pool.experts[made.pool.index("beta")]
        assert not beta.ready
        assert "times as large" in beta.reason
        assert ended(list(made.run(RunRequest("hello", router="knn", sampling=SHORT))))
    finally:
        made.close()


@pytest.mark.parametrize("length", [150, 260, 3000])
def test_a_source_of_any_length_is_added_once(tiny_settings: Settings, tmp_path: Path, length: int) -> None:
    from playground.experts.catalogue import load_catalogue  # noqa: PLC0415  (only this test needs it)
    from playground.serving.loading import add_configured, load_model  # noqa: PLC0415  (imports torch)

    place = tmp_path
    while len(str(place)) < length:
        place = place / "hydra_output_directory_with_every_override_in_its_name"
    folder = write_tiny_expert(place, "poems", 6, seed=7)
    settings = tiny_settings.model_copy(update={"adapters": str(folder)})
    base = load_model(settings)
    for _ in range(3):
        pool = load_catalogue(settings.experts_dir, settings.added_dir)  # as each start reads it
        assert [expert.name for expert in add_configured(base, pool, settings).experts if expert.is_added] == ["poems"]
    assert [path.name for path in settings.added_dir.iterdir()] == ["poems"]
