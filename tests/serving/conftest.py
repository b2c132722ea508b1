"""Router versions over a fresh database."""

from pathlib import Path

import pytest

from playground.serving.versions import Versions
from playground.settings import Settings
from playground.store.database import Database


@pytest.fixture
def versions(database: Database, settings: Settings) -> Versions:
    return Versions(database, settings)


@pytest.fixture
def shipped_copy(tmp_path: Path) -> Path:
    """Return a folder in which a test may put shipped parameters of its own."""
    return tmp_path / "shipped"
