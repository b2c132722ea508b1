"""Fixtures of the tests of the actions."""

import pytest

from playground.serving.versions import Versions
from playground.settings import Settings
from playground.store.database import Database
from tests.learn.conftest import world
from tests.scripted import gate_events, runtime

__all__ = ["gate_events", "runtime", "world"]


@pytest.fixture
def versions(database: Database, settings: Settings) -> Versions:
    return Versions(database, settings)
