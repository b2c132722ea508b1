"""Routing playground: see where a prompt goes, compare answers blind, and teach the router from the labels."""

__version__ = "0.1.0"
