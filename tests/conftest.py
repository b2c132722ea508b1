"""What many tests share: settings that point at temporary folders, and a tiny language model made on the spot.

Nothing here touches the user's own cache, data or environment.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from playground.settings import Settings, get_settings
from playground.store.database import Database
from tests.postgres import postgres, postgres_server

if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has one processor; with more threads they would wait for another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

__all__ = ["postgres", "postgres_server"]
# A property is about values, not about how busy the machine is.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch the language model before the clock of the first test that needs it starts, also in workers of xdist."""
    from tests.model_fetch import fetch_model, needs_model  # noqa: PLC0415  (imports httpx, which few runs need)

    if session.config.option.collectonly or not needs_model(session.items):
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        fetch_model(Settings())


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings of a fresh installation in a temporary folder, whatever the environment says."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PLAYGROUND_{name.upper()}", raising=False)
    for name in ("DATABASE_URL", "PIP_INDEX_URL", "SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "experts").mkdir()
    return Settings(
        _env_file=None,
        cache_dir=tmp_path / "cache",
        data_dir=tmp_path / "data",
        experts_dir=tmp_path / "experts",
        threads=1,
        dtype="float32",
    )


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """Return an empty database at the newest revision."""
    opened = Database(settings.database_address, data_dir=settings.data_dir)
    opened.upgrade()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the tiny model, which is made once per session."""
    from tests.tiny import write_tiny_model  # noqa: PLC0415  (imports torch: seconds that most tests need not wait)

    return write_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture
def tiny_settings(settings: Settings, tiny_model_folder: Path) -> Settings:
    """Return settings with the tiny model and two tiny experts called alpha and beta."""
    from tests.tiny import write_tiny_expert  # noqa: PLC0415  (as above)

    for slot, name in enumerate(("alpha", "beta")):
        write_tiny_expert(settings.experts_dir, name, slot, seed=slot)
    return settings.model_copy(update={"base_model": str(tiny_model_folder)})


@pytest.fixture(autouse=True)
def _fresh_settings() -> Iterator[None]:
    """Forget the settings, which a process reads only once, so that no test sees another's."""
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()
