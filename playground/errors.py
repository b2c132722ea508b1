"""Errors that a visitor can see: what happened, and what to do about it.

Anything that is not a `PlaygroundError` is a bug; the three edges that catch it show only a request id.
"""


class PlaygroundError(Exception):
    """What happened (`message`), what to do (`remedy`), and the HTTP status."""

    status = 500

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class InvalidRequest(PlaygroundError):
    """The request cannot be served as asked: an unknown name, an empty prompt, a value out of range."""

    status = 400


class NotPermitted(PlaygroundError):
    """The person lacks the right that the action needs."""

    status = 403


class TooOften(PlaygroundError):
    """The person did this too often lately and has to wait."""

    status = 429


class NotReady(PlaygroundError):
    """Something is still loading, or could not be loaded."""

    status = 503


class ArtefactError(PlaygroundError):
    """A model file is missing, damaged or unreachable."""

    status = 503


class StorageError(PlaygroundError):
    """The database or the disk refused. Nothing that was stored is lost."""

    status = 507
