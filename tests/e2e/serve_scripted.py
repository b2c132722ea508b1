"""A server process for tests: the page over the scripted runtime, on a free port, its database in the folder given.

A second argument is how many seconds each token takes.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main(folder: Path, delay: float = 0.0) -> None:
    from playground.ui.page import serve  # noqa: PLC0415  the path above comes first
    from tests.scripted import scripted  # noqa: PLC0415

    serve(scripted(folder, delay=delay), host="127.0.0.1", port=0)  # type: ignore[arg-type]  # the same face as a runtime


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
