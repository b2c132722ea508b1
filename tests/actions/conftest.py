"""Fixtures of the actions's tests."""

from tests.scripted import gate_events, runtime

__all__ = ["gate_events", "runtime"]
