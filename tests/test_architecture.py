"""Who may import whom, how large things may grow, and what must stay out of where. Replaces a review rule."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "playground"
FILES = sorted([*PACKAGE.rglob("*.py"), *ROOT.glob("*.py")])
MAX_LINES, MAX_FUNCTION = 400, 60

# What each part may import of the others. `errors` and `settings` lie below everything. `routers.base` (the contract of
# a gate, and how its parameters are kept) is a part of its own: the model calls a gate, but knows none.
BELOW = {"errors", "settings"}
VALUES = BELOW | {"core"}
ENGINE = VALUES | {"encode", "model", "experts", "routers", "routers.base"}
EVERYTHING = ENGINE | {"store", "learn", "runtime", "engine", "run", "lens", "scheduler", "assembly", "doctor"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "settings": set(),
    "core": {"errors"},
    "encode": VALUES,
    "routers.base": VALUES,
    "model": VALUES | {"encode", "routers.base"},
    "experts": VALUES | {"encode", "model"},
    "routers": VALUES | {"encode", "routers.base"},
    "store": VALUES,
    "run": ENGINE,
    "engine": ENGINE | {"run"},
    "scheduler": ENGINE | {"engine"},
    "lens": ENGINE | {"run", "engine"},
    "learn": ENGINE | {"store"},
    "assembly": ENGINE | {"store", "learn", "engine", "run", "scheduler"},
    "runtime": ENGINE | {"store", "learn", "engine", "lens", "scheduler", "assembly"},
    "bench": EVERYTHING,
    "doctor": EVERYTHING,
    "ui": EVERYTHING,
    "cli": EVERYTHING | {"bench"},
    "app": EVERYTHING | {"ui"},
    "__main__": {"cli"},
}
# Serving the page is the one thing the command line does with the page.
EXCEPTIONS = {("cli/serve.py", "ui")}
# The edges at which anything may be caught: it is logged with its stack and shown as a short message.
BROAD_EXCEPTS = {
    "engine.py": 1,  # a run
    "experts/worker.py": 1,  # a tool
    "model/worker.py": 3,  # a run, a batch, and a call handed to the model's thread
    "runtime.py": 1,  # loading the models
    "ui/trouble.py": 2,  # a callback, plain and streaming
}


def part(module: str) -> str:
    """The part of the tree a dotted module belongs to."""
    names = module.split(".")
    if names[0] != "playground" or len(names) == 1:
        return names[0]
    contract = names[1] == "routers" and names[2:3] in (["base"], ["artefact"])
    return "routers.base" if contract else names[1]


def place(path: Path) -> str:
    return str(path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT))


def imported(tree: ast.AST) -> list[str]:
    """Every module a file imports, wherever in it; `from playground import x` counts as playground.x."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found += whole if node.module in ("playground", "playground.routers") else [node.module]
    return found


def is_broad(node: ast.AST) -> bool:
    if not isinstance(node, ast.ExceptHandler):
        return False
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or getattr(kind, "id", "") in ("Exception", "BaseException") for kind in kinds)


@pytest.fixture(params=FILES, ids=place, scope="module")
def source(request: pytest.FixtureRequest) -> tuple[Path, ast.Module]:
    return request.param, ast.parse(request.param.read_text("utf-8"))


def test_arrows_point_one_way(source: tuple[Path, ast.Module]) -> None:
    path, tree = source
    if path.name == "__init__.py" and path.parent == PACKAGE:
        return
    own = part(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert own in ALLOWED, f"{own} is a new part of the tree: say in ALLOWED what it may import"
    others = {part(name) for name in imported(tree) if name.startswith("playground.")} - {own}
    wrong = {other for other in others - ALLOWED[own] if (place(path), other) not in EXCEPTIONS}
    assert not wrong, f"{place(path)} must not import {sorted(wrong)}"


def test_sizes(source: tuple[Path, ast.Module]) -> None:
    path, tree = source
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions if node.end_lineno}
    assert {name: lines for name, lines in long.items() if lines > MAX_FUNCTION} == {}
    crowded = {node.name for node in functions if len([a for a in node.args.args if a.arg not in ("self", "cls")]) > 5}
    assert crowded == set(), "at most five positional parameters"


def test_gradio_and_plotly_stay_in_the_page(source: tuple[Path, ast.Module]) -> None:
    path, tree = source
    roots = {name.split(".")[0] for name in imported(tree)}
    if not place(path).startswith("ui/") and path.name != "app.py":
        assert not roots & {"gradio", "gradio_client", "plotly"}


def test_only_settings_read_the_environment(source: tuple[Path, ast.Module]) -> None:
    path, tree = source
    reads = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "putenv", "environb")
    }
    # app.py sets (never reads) one variable, before gradio is imported, because gradio offers no other way.
    if place(path) not in ("settings.py", "app.py"):
        assert reads == set()


def test_nothing_is_unpickled_or_evaluated(source: tuple[Path, ast.Module]) -> None:
    tree = source[1]
    assert not {name.split(".")[0] for name in imported(tree)} & {"pickle", "dill", "joblib", "shelve", "marshal"}
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & {"eval", "exec", "torch.load", "__import__"}


def test_broad_excepts_are_the_listed_edges() -> None:
    found: dict[str, int] = {}
    for path in FILES:
        count = sum(is_broad(node) for node in ast.walk(ast.parse(path.read_text("utf-8"))))
        if count:
            found[place(path)] = count
    assert found == BROAD_EXCEPTS


def test_the_rules_see_what_they_should() -> None:
    tree = ast.parse(
        "from playground.routers import base\nfrom playground import ui\nimport torch.nn\ntry: x\nexcept: y"
    )
    assert [part(name) for name in imported(tree)] == ["routers.base", "ui", "torch"]
    assert sum(is_broad(node) for node in ast.walk(tree)) == 1
    assert len(FILES) > 20


HEAVY = ("torch", "transformers", "sentence_transformers", "sympy", "pint", "peft", "scipy", "sklearn")


@pytest.mark.parametrize(
    "module",
    [
        "playground.settings",
        "playground.core.events",
        "playground.store.database",
        "playground.store.labels",
        "playground.serving.runtime",
        "playground.cli.app",
        "playground.ui.page",
        "app",
    ],
)
def test_the_page_paints_before_the_heavy_libraries_load(module: str) -> None:
    code = f"import sys, {module}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
