"""Read and write the containers of formats: JSON lines, a JSON list, Parquet.

Each reader gives (line, value) for every row. A row that cannot be read is given as the error, so that a report can
name it.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from playground.errors import InvalidRequest

if TYPE_CHECKING:
    import pyarrow as pa

REMEDY = "Check that the file is whole, and that its ending or --format names what it holds."


def decoded(data: bytes) -> str:
    """Return the text of a file, without a byte-order mark. Raise InvalidRequest unless it is UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The file is not UTF-8 text: byte {error.start} is wrong.", REMEDY) from error


def write_lines(values: Iterable[Any]) -> bytes:
    """Return values as JSON lines. Characters outside ASCII are not escaped."""
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode()


def write_list(values: Sequence[Any]) -> bytes:
    """Return values as one JSON list, a value on each line."""
    body = ",\n".join(json.dumps(value, ensure_ascii=False) for value in values)
    return f"[\n{body}\n]\n".encode() if values else b"[]\n"


def read_json(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (line, value) of JSON lines, or (position, value) of a JSON list. A broken line is yielded as its error.

    Raise InvalidRequest for a broken list or other bytes.
    """
    text = decoded(data)
    if text.lstrip().startswith("["):
        try:
            yield from enumerate(json.loads(text), start=1)
        except ValueError as error:
            raise InvalidRequest(f"The list of this file is broken: {error}.", REMEDY) from error
        return
    for line, part in enumerate(text.split("\n"), start=1):  # not splitlines: a text may hold U+2028
        if part.strip():
            yield line, _value(part)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        return ValueError(f"this is not JSON: {error}")


def write_parquet(values: Sequence[Mapping[str, Any]], schema: "pa.Schema") -> bytes:
    """Return values as the bytes of a Parquet file with `schema`, compressed by zstd."""
    import pyarrow as pa  # noqa: PLC0415  (0.2 s to import: only for this container)
    import pyarrow.parquet as pq  # noqa: PLC0415  (as above)

    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(value) for value in values], schema=schema), out, compression="zstd")
    return out.getvalue()


def read_parquet(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (position, row) of a Parquet file. Raise InvalidRequest for other bytes."""
    import pyarrow as pa  # noqa: PLC0415  (0.2 s to import: only for this container)
    import pyarrow.parquet as pq  # noqa: PLC0415  (as above)

    try:
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequest(f"This is not a Parquet file: {str(error).splitlines()[0]}", REMEDY) from error
    yield from enumerate(rows, start=1)
