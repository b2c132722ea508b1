"""A server process for tests: the page over the scripted runtime, on a free port, its database in the folder given."""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))


def main(folder: Path) -> None:
    from playground.ui.page import serve  # noqa: PLC0415  the path above comes first

    spec = importlib.util.spec_from_file_location("scripted_runtime", HERE.parent / "ui" / "scripted.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scripted_runtime"] = module
    spec.loader.exec_module(module)
    serve(module.scripted(folder), host="127.0.0.1", port=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
