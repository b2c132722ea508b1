"""Understand what people paste for a model on a hub: an id, or the address of one of its pages."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
REVISION = re.compile(r"[\w./-]{1,100}")
HOSTS = ("huggingface.co", "hf.co")
OTHER_KINDS = ("datasets", "spaces")
FOLDERS, FILES = ("tree",), ("blob", "resolve", "raw")  # what comes after an id, before a revision and a path


@dataclass(frozen=True)
class HubAddress:
    """Name a model on a hub. `folder` is the part of it that is meant, with a slash at its end, empty for all."""

    repository: str
    revision: str | None = None
    folder: str = ""

    @property
    def label(self) -> str:
        """Return the address in few words."""
        return f"{self.repository}/{self.folder}".rstrip("/")


def hub_address(text: str) -> HubAddress | None:
    """Return the address that `text` gives, as an id, an id with @revision, or a page of the hub. Else None."""
    scheme, _, rest = text.strip().rpartition("://")
    if not scheme:
        rest = rest.removeprefix("hf:")
    host, _, path = rest.partition("/")
    if host.lower().removeprefix("www.") in HOSTS and scheme in ("", "http", "https"):
        return _from_page(path.partition("?")[0].partition("#")[0])
    if scheme not in ("", "hf"):
        return None
    repository, _, revision = rest.rstrip("/").partition("@")
    return _checked(repository, revision or None, [])


def _from_page(path: str) -> HubAddress | None:
    """Return the address that the path of a page gives, like /owner/name/tree/main/folder."""
    parts = [unquote(part) for part in path.split("/") if part]
    if len(parts) < 2 or parts[0] in OTHER_KINDS:
        return None
    kind = parts[2] if len(parts) > 2 else ""
    revision = parts[3] if len(parts) > 3 else ""
    inside = parts[4:]
    if kind in FILES:
        inside = inside[:-1]
    elif kind == "commit":
        inside = []
    elif kind not in FOLDERS:
        revision, inside = "", []
    repository, _, pinned = "/".join(parts[:2]).partition("@")
    return _checked(repository, revision or pinned or None, inside)


def _checked(repository: str, revision: str | None, inside: list[str]) -> HubAddress | None:
    if not ID.fullmatch(repository) or ".." in repository:
        return None
    if revision is not None and not REVISION.fullmatch(revision):
        return None
    return HubAddress(repository, revision, "".join(f"{part}/" for part in inside))
