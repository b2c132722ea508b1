import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from playground.errors import ArtefactError, InvalidRequest, NotReady, StorageError
from playground.routers.base import Beginning, ExampleSet
from playground.routers.prompt.linear import LinearProbe
from playground.serving.versions import SHIPPED, Versions
from playground.settings import Settings
from playground.store.database import Database


def draft(versions: Versions, *, scale: float = 2.0, note: str = "") -> str:
    router, parent = versions.load("linear")
    assert isinstance(router, LinearProbe)
    changed = LinearProbe(router.experts, router.weight * scale, router.bias, router.options)
    return versions.create(changed, parent=parent, metrics={"log_loss": 0.5}, labels_hash="h", note=note)


def test_the_shipped_version_is_in_force_first_and_seeded_once(versions: Versions) -> None:
    shipped = versions.current("linear")
    assert shipped.startswith("linear-shipped-")
    assert len(shipped) == len("linear-shipped-") + 8
    assert versions.current("linear") == versions.load("linear")[1] == shipped
    (info,) = versions.history("linear")
    assert (info.id, info.state, info.parent) == (shipped, "current", None)


def test_a_version_is_loaded_once_and_shared(versions: Versions) -> None:
    assert versions.load("linear")[0] is versions.load("linear", versions.current("linear"))[0]


def test_a_draft_changes_nothing_until_it_is_promoted(versions: Versions) -> None:
    shipped = versions.current("linear")
    new = draft(versions, note="twice as sure")
    assert versions.current("linear") == shipped
    assert [info.state for info in versions.history("linear")] == ["draft", "current"]
    assert versions.promote(new, by="ann", reason="better") == new == versions.current("linear")
    newest, oldest = versions.history("linear")
    assert (newest.state, newest.parent, newest.metrics, newest.note) == (
        "current",
        shipped,
        {"log_loss": 0.5},
        "twice as sure",
    )
    assert oldest.state == "promoted before"
    (step,) = versions.promotions("linear")
    assert (step.version, step.from_version, step.by, step.reason) == (new, shipped, "ann", "better")


def test_rolling_back_walks_back_step_by_step(versions: Versions) -> None:
    shipped = versions.current("linear")
    one = versions.promote(draft(versions), by="ann")
    two = versions.promote(draft(versions, scale=3.0), by="ann")
    assert versions.rollback("linear", by="ann") == one
    assert versions.rollback("linear", by="ann") == shipped == versions.current("linear")
    with pytest.raises(InvalidRequest, match="no earlier"):
        versions.rollback("linear", by="ann")
    versions.promote(two, by="ann")
    assert versions.rollback("linear", by="ann") == shipped
    assert len(versions.promotions("linear")) == 6, "every step is kept"


def test_promoting_twice_or_past_somebody_else_is_refused(versions: Versions) -> None:
    shipped = versions.current("linear")
    one, two = draft(versions), draft(versions, scale=3.0)
    versions.promote(one, by="ann", only_from=shipped)
    with pytest.raises(InvalidRequest, match="already"):
        versions.promote(one, by="ann")
    with pytest.raises(InvalidRequest, match="meanwhile"):
        versions.promote(two, by="bob", only_from=shipped)
    with pytest.raises(InvalidRequest, match="No router version"):
        versions.promote("gone", by="bob")


def test_a_new_release_does_not_take_away_what_a_rollback_returns_to(
    database: Database, settings: Settings, shipped_copy: Path, versions: Versions
) -> None:
    shutil.copytree(SHIPPED / "linear", shipped_copy / "linear")
    old = Versions(database, settings, shipped=shipped_copy)
    before = old.current("linear")
    new = draft(old)
    old.promote(new, by="ann")
    card = shipped_copy / "linear" / "router.json"
    card.write_text(json.dumps(json.loads(card.read_text("utf-8")) | {"release": 2}), "utf-8")
    released = Versions(database, settings, shipped=shipped_copy)
    assert released.shipped_id("linear") != before
    assert released.current("linear") == new
    assert released.rollback("linear", by="ann") == before
    assert released.load("linear")[1] == before


def test_damaged_parameters_are_never_served(versions: Versions, settings: Settings, database: Database) -> None:
    new = draft(versions)
    params = next((settings.data_dir / "versions" / new).glob("*.safetensors"))
    blob = bytearray(params.read_bytes())
    blob[-1] ^= 1
    params.write_bytes(blob)
    with pytest.raises(ArtefactError, match="damaged"):
        versions.promote(new, by="ann")
    shutil.rmtree(params.parent)
    with pytest.raises(ArtefactError, match="missing"):
        Versions(database, settings).load("linear", new)
    assert versions.current("linear").startswith("linear-shipped-")


def test_unknown_routers_and_versions_are_said(versions: Versions, shipped_copy: Path) -> None:
    with pytest.raises(InvalidRequest, match="No router"):
        versions.current("magic")
    with pytest.raises(InvalidRequest, match="not to knn"):
        versions.load("knn", versions.current("linear"))
    bare = Versions(versions.database, versions.settings, shipped=shipped_copy)
    with pytest.raises(NotReady, match="no parameters"):
        bare.load("knn")


def test_a_full_disk_leaves_no_half_version(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: LinearProbe, folder: Path) -> None:
        (folder / "params.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LinearProbe, "save", full)
    with pytest.raises(StorageError, match="No space left"):
        draft(versions)
    assert list((versions.settings.data_dir / "versions").iterdir()) == []
    assert len(versions.history("linear")) == 1


def test_a_router_without_shipped_parameters_begins_with_its_own(
    database: Database, settings: Settings, shipped_copy: Path
) -> None:
    nothing = ExampleSet(("base", "alpha"), (), np.zeros((0, 4), np.float32), np.zeros(0, np.int64))
    beginning = Beginning(lambda: nothing, ("base", "alpha"), 2, 48)
    versions = Versions(database, settings, shipped=shipped_copy, beginning=lambda: beginning)
    router, version = versions.load("manual")
    assert version.startswith("manual-begun-")
    assert router.experts == ("base", "alpha")
    again = Versions(database, settings, shipped=shipped_copy, beginning=lambda: beginning)
    assert again.current("manual") == version
    assert again.load("uniform")[1].startswith("uniform-begun-")
    with pytest.raises(NotReady, match="routers fit lora_mixer"):
        again.current("lora_mixer")
    with pytest.raises(NotReady, match="routers fit manual"):
        Versions(database, settings, shipped=shipped_copy).current("manual")


def test_a_replica_on_a_server_serves_what_another_one_promoted(postgres: str, settings: Settings) -> None:
    """Each has a data folder of its own. Rolled back, the version before is found, too."""
    one, two = (
        Versions(Database(postgres), settings.model_copy(update={"data_dir": settings.data_dir / name}))
        for name in ("one", "two")
    )
    one.database.upgrade()
    first = one.promote(draft(one), by="ann")
    assert two.load("linear")[1] == first
    second = two.promote(draft(two, scale=3.0), by="ann")
    again, version = one.load("linear")
    assert isinstance(again, LinearProbe)
    here = two.load("linear")[0]
    assert isinstance(here, LinearProbe)
    assert version == second
    assert bool((again.weight == here.weight).all())
    assert one.rollback("linear", by="ann") == first
    for versions in (one, two):
        versions.database.close()
