"""Who may import whom, how large things may grow, and what must stay out of where. Replaces a review rule."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "playground"
FILES = sorted([*PACKAGE.rglob("*.py"), *ROOT.glob("*.py")])
MAX_LINES, MAX_FUNCTION = 400, 60

# What each part may import of the others. `errors`, `settings` and `options` lie below everything. `routers.base` (the
# contract of a gate, and how its parameters are kept) is a part of its own: the model calls a gate, but knows none.
BELOW = {"errors", "settings", "options"}
VALUES = BELOW | {"core"}
PARTS = VALUES | {"encode", "model", "experts", "routers", "routers.base"}
ACTIONS = PARTS | {"store", "serving", "learn", "exchange"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "options": {"errors"},
    "core": {"errors"},
    "encode": VALUES,
    "routers.base": VALUES,
    "model": VALUES | {"encode", "routers.base"},
    "experts": VALUES,
    "routers": VALUES | {"encode", "routers.base"},
    "store": VALUES,
    "serving": PARTS | {"store"},
    "learn": PARTS | {"store"},
    "exchange": VALUES | {"store"},
    "actions": ACTIONS,
    "doctor": PARTS | {"store"},
    "bench": ACTIONS | {"actions"},
    "ui": VALUES | {"actions"},
    "cli": VALUES | {"actions", "bench", "doctor"},
    "app": VALUES | {"serving", "ui"},
    "__main__": {"cli"},
}
# What a part may name in annotations alone: the import stands under TYPE_CHECKING and never runs.
TYPES_OF: dict[str, set[str]] = {
    "ui": {"serving", "learn", "experts"},
    "cli": {"serving", "learn", "model"},
    "serving": {"learn"},
}
# Serving the page is the one thing the command line does with the page.
EXCEPTIONS = {("cli/serve.py", "ui"), ("cli/serve.py", "serving")}
# Only these open a database session: everybody else asks an action.
SESSIONS = ("store", "serving", "actions", "bench")
# The edges at which anything may be caught: it is logged with its stack and shown as a short message.
BROAD_EXCEPTS = {
    "serving/engine.py": 1,  # a run
    "experts/tools/worker.py": 1,  # a tool
    "model/decode.py": 4,  # a pass, which is undone; a group, whose rows are tried alone; a row; a draw
    "model/probe.py": 3,  # what a base model that nobody has seen raises when it is tried
    # a prompt, a token, a row that leaves, a reading, a call, and the thread itself, which begins anew
    "model/worker.py": 6,
    "serving/runtime.py": 1,  # loading the models
    "ui/failures.py": 2,  # a callback, plain and streaming
}


def part(module: str) -> str:
    """Return the part of the tree that a dotted module belongs to."""
    names = module.split(".")
    if names[0] != "playground" or len(names) == 1:
        return names[0]
    contract = names[1] == "routers" and names[2:3] in (["base"], ["artefact"])
    return "routers.base" if contract else names[1]


def place(path: Path) -> str:
    return str(path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT))


def annotations_only(tree: ast.AST) -> set[ast.AST]:
    """Return every node that stands under `if TYPE_CHECKING`."""
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {inner for guard in guards for statement in guard.body for inner in ast.walk(statement)}


def imported(tree: ast.AST, *, types: bool = True) -> list[str]:
    """Return every module that a file imports, anywhere in it. `from playground import x` counts as playground.x.

    Without `types`, imports for annotations alone are left out.
    """
    skipped = set() if types else annotations_only(tree)
    found: list[str] = []
    for node in ast.walk(tree):
        if node in skipped:
            continue
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

    def wrong(names: list[str], allowed: set[str]) -> list[str]:
        others = {part(name) for name in names if name.startswith("playground.")} - {own}
        return sorted(other for other in others - allowed if (place(path), other) not in EXCEPTIONS)

    running = wrong(imported(tree, types=False), ALLOWED[own])
    assert not running, f"{place(path)} must not import {running}"
    named = wrong(imported(tree), ALLOWED[own] | TYPES_OF.get(own, set()))
    assert not named, f"{place(path)} must not name {named}, not even in annotations"


def test_no_module_imports_itself_by_a_detour() -> None:
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        tree, found = ast.parse(path.read_text("utf-8")), set()
        skipped = annotations_only(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node not in skipped:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {each if each in names else node.module for each in whole}
        graph[name] = {each for each in found if each in names and each != name}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_a_prompts_way_to_its_events_climbs_nowhere() -> None:
    """From the page down: no file on the way is imported by one below it (the test above), and each is seen once."""
    way = ["ui.playground_tab", "actions.ask", "serving.runtime", "serving.engine", "serving.decide", "core.values"]
    for above, below in pairwise(way):
        tree = ast.parse((PACKAGE / f"{below.replace('.', '/')}.py").read_text("utf-8"))
        assert f"playground.{above}" not in imported(tree)


def test_sessions_are_opened_below_the_page(source: tuple[Path, ast.Module]) -> None:
    path, tree = source
    opened = {
        ast.unparse(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("database.read", "database.write"))
    }
    if place(path).split("/")[0] not in SESSIONS:
        assert opened == set()


def test_one_public_class_a_name() -> None:
    """No two public classes have one name, and none has the name of a base class of a library that we use."""
    seen: dict[str, str] = {}
    for path in FILES:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert node.name not in seen, f"{node.name} is in {place(path)} and in {seen[node.name]}"
                assert node.name not in ("BaseModel", "Field", "Tensor", "Module", "Session", "Dataset", "Trainer")
                seen[node.name] = place(path)


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
