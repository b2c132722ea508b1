"""Fixtures of the tests of the actions."""

from tests.scripted import gate_events, runtime

__all__ = ["gate_events", "runtime"]
