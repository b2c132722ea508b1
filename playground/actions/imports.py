"""Import labels from a file: every row is checked, and either all of them are stored or none.

An import never changes what is here. The labels get the source `import`, so they are never mixed with people's votes
unless somebody asks for that.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playground.actions.database import opened
from playground.core.records import LabelRow, aligned
from playground.errors import InvalidRequest, StorageError
from playground.exchange.base import FORMATS, ExchangeFormat, ParsedRow, format_called, format_of
from playground.exchange.record import UNKNOWN_TIME
from playground.settings import Settings
from playground.store.database import Database
from playground.store.imports import import_labels

MAX_ROWS = 200_000
MAX_BYTES = 1_000_000_000
SHOWN = 20
BROKEN = "Check that the file is whole."


@dataclass(frozen=True)
class ImportReport:
    """Say what became of a file. `problems` are (line, what is wrong); with any, nothing was stored.

    `existing` counts rows that were here already, and were left as they are.
    """

    format: str
    rows: int
    added: int
    existing: int
    problems: tuple[tuple[int, str], ...] = ()

    @property
    def is_refused(self) -> bool:
        """Return whether the file was refused as a whole."""
        return bool(self.problems)

    def lines(self) -> list[str]:
        """Return the report as sentences: every wrong row up to 20, then how many more there are."""
        if not self.is_refused:
            there = f" {self.existing} were here already and stay as they are." if self.existing else ""
            return [f"{self.added} labels were imported.{there}"]
        told = [f"Row {line}: {problem}." for line, problem in self.problems[:SHOWN]]
        more = len(self.problems) - len(told)
        rest = [f"{more} more rows are wrong. `--json` names all of them."] if more else []
        head = f"{len(self.problems)} of {self.rows} rows are wrong, so nothing was imported."
        return [head, *told, *rest]


def readable_formats() -> list[tuple[str, str]]:
    """Return (name, ending) of every format that can be imported."""
    return [(name, FORMATS.get(name).ending) for name in FORMATS if FORMATS.get(name).can_read()]


def read_rows(data: bytes, name: str, format_name: str = "") -> tuple[ExchangeFormat, list[ParsedRow]]:
    """Return the format and the rows of a file called `name`. A name that ends in .gz is unpacked first.

    `format_name` is needed where the ending does not tell. Raise InvalidRequest for a broken or an empty file.
    """
    if name.endswith(".gz"):
        data, name = _unpacked(data), name.removesuffix(".gz")
    form = format_called(format_name) if format_name else format_of(name)
    found = form.read(data)
    if not found:
        raise InvalidRequest(f"{name} holds no labels.", "Choose another file.")
    if len(found) > MAX_ROWS:
        raise InvalidRequest(f"{name} has more than {MAX_ROWS:,} rows.", "Import it in parts.")
    return form, found


def import_data(database: Database, data: bytes, name: str, format_name: str = "") -> ImportReport:
    """Store the labels of a file, all or none. Return what became of each row. Raise InvalidRequest, StorageError."""
    form, found = read_rows(data, name, format_name)
    problems = tuple((row.line, row.problem) for row in found if row.row is None)
    if problems:
        return ImportReport(form.name, len(found), 0, 0, problems)
    rows = whole(found, name)
    with database.write() as session:
        done = import_labels(session, rows, name=name, unknown_time=UNKNOWN_TIME)
    return ImportReport(form.name, len(found), done.added, done.existing)


def import_file(settings: Settings, path: Path, format_name: str = "") -> ImportReport:
    """Store the labels of the file `path`, all or none. Raise InvalidRequest, StorageError."""
    data = bytes_of(path)
    with opened(settings) as database:
        return import_data(database, data, path.name, format_name)


def labels_of_file(path: Path, format_name: str = "") -> list[LabelRow]:
    """Return the labels of a file without storing them. Raise InvalidRequest that names the first wrong row."""
    _, found = read_rows(bytes_of(path), path.name, format_name)
    return whole(found, path.name)


def whole(found: Sequence[ParsedRow], name: str) -> list[LabelRow]:
    """Return the labels of rows that are all good, aligned by comparison.

    Raise InvalidRequest that names the first wrong one.
    """
    wrong = next((row for row in found if row.row is None), None)
    if wrong is not None:
        raise InvalidRequest(f"Row {wrong.line} of {name} is wrong: {wrong.problem}.", "Mend it, or choose a --format.")
    return aligned(row.row for row in found if row.row is not None)


def bytes_of(path: Path) -> bytes:
    """Return what a file holds. Raise InvalidRequest for a missing or too large one, StorageError for a broken disk."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidRequest(f"{path.name} is larger than 1 GB.", "Import it in parts.")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InvalidRequest(f"There is no file {path}.", "Check the path.") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.", "Choose another file.") from error


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise InvalidRequest("The file ends in .gz but cannot be unpacked.", BROKEN) from error
    if unpacker.unconsumed_tail:
        raise InvalidRequest("The unpacked file is larger than 1 GB.", "Import it in parts.")
    if not unpacker.eof:
        raise InvalidRequest("The packed file ends too early.", BROKEN)
    return text
