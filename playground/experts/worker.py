"""Placeholder of the killable worker."""


class Worker:
    """Placeholder."""

    def __init__(self, limit_s: float = 2.0) -> None:
        self.limit_s = limit_s
