"""Say who is at the page: an anonymous labeller kept in the browser, and whether they may act as an admin.

The handle is a random text in the visitor's own storage. The database sees only what `store.people` makes of it.
"""

import hashlib
import hmac
import logging
import math
import re
import secrets
import threading
import time

from playground.core.rates import Rate
from playground.errors import InvalidRequest, NotPermitted, TooOften
from playground.settings import Settings

log = logging.getLogger(__name__)

STORAGE_KEY = "routing-playground-visitor"
GUESSES, GUESS_SECONDS = 5, 900.0  # wrong passwords of one address
_wrong = Rate(GUESSES, GUESS_SECONDS)
_guessing = threading.Lock()  # one password at a time, so that many at once are not free guesses
HANDLE = re.compile(r"[A-Za-z0-9_-]{8,64}")


def new_handle() -> str:
    """Return a new random handle."""
    return secrets.token_urlsafe(18)


def handle_of(kept: object) -> str:
    """Return the handle that the browser kept, or a new one when it kept none or something else."""
    return kept if isinstance(kept, str) and HANDLE.fullmatch(kept) else new_handle()


def named_handle(given: object) -> str:
    """Return the labeller that a client names. Raise InvalidRequest for a name that cannot be kept."""
    name = str(given or "").strip()
    if not HANDLE.fullmatch(name):
        raise InvalidRequest(
            "A labeller needs 8 to 64 letters, digits, - or _.", "Give a longer secret of your own, or none."
        )
    return name


def may_administer(settings: Settings, password: str) -> bool:
    """Return whether versions and experts can be changed. Without a password: yes locally, no on a Space."""
    if settings.admin_password:
        given = (password or "").encode("utf-8", "surrogatepass")  # a broken paste can hold half of a character
        return hmac.compare_digest(settings.admin_password.encode("utf-8", "surrogatepass"), given)
    return not settings.is_space


def require_admin(settings: Settings, password: str, *, address: str = "") -> None:
    """Raise NotPermitted unless `password` allows changing versions and experts.

    Raise TooOften after five wrong ones of one network address: it has to wait for a quarter of an hour, whatever it
    sends then. Without an address, as on the command line, nothing is counted.
    """
    if not _is_allowed(settings, password, address):
        remedy = (
            "Type the admin password." if settings.admin_password else "The host has to set PLAYGROUND_ADMIN_PASSWORD."
        )
        raise NotPermitted("Only an admin may change what everybody uses.", remedy)


def is_host(settings: Settings, password: str, *, address: str = "") -> bool:
    """Return whether `password` is the admin's. Without one that is set, nobody is known to be the host.

    Raise TooOften as `require_admin` does.
    """
    return bool(settings.admin_password) and _is_allowed(settings, password, address)


def _is_allowed(settings: Settings, password: str, address: str) -> bool:
    if not (settings.admin_password and password and address):
        return may_administer(settings, password)
    with _guessing:
        wait = _wrong.wait(address, time.monotonic())
        if wait:
            log.warning("admin password not looked at address=%s wait_s=%.0f", address, wait)
            raise TooOften("Too many wrong passwords were typed.", f"Wait {math.ceil(wait / 60)} min, then try again.")
        allowed = may_administer(settings, password)
        if allowed:
            _wrong.forget(address)
        else:
            _wrong.spend(address, time.monotonic())
            log.warning("wrong admin password address=%s", address)
        return allowed


def session_of(handle: str) -> str:
    """Return the id under which runs of this visitor are stored.

    It is not the handle, because whoever knows the handle can act for the visitor.
    """
    return hashlib.sha256(f"run:{handle}".encode()).hexdigest()[:32]
