"""The documentation against the program: settings, commands, plug-ins, events, endpoints, links."""

import re
from pathlib import Path

import pytest
import typer

from playground.actions import docs
from playground.cli.app import app
from playground.core.document import events_markdown
from playground.doctor import settings_markdown
from playground.routers.base import ROUTERS
from playground.ui.document import endpoints_markdown

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
DOCS = ROOT / "playground" / "docs"
PAGES = {"README.md": README} | {
    path.relative_to(DOCS).as_posix(): path.read_text("utf-8") for path in sorted(DOCS.rglob("*.md"))
}


def test_the_settings_page_is_not_stale() -> None:
    assert PAGES["settings.md"] == settings_markdown(), (
        "run: python -m playground doctor --settings-markdown > playground/docs/settings.md"
    )


def commands(group: typer.Typer, prefix: str = "") -> list[str]:
    """Return every command as a person types it, such as `experts train` for one in a group."""
    named = [f"{prefix}{info.name or info.callback.__name__}" for info in group.registered_commands if info.callback]
    for sub in group.registered_groups:
        if sub.typer_instance is not None:
            named += commands(sub.typer_instance, f"{prefix}{sub.name} ")
    return named


@pytest.mark.parametrize("command", commands(app))
def test_every_command_is_in_the_readme(command: str) -> None:
    assert re.search(rf"`{command}[ `]", README), f"{command} is missing from the table of commands"


def test_every_shipped_router_is_in_the_readme() -> None:
    assert ROUTERS.broken() == {}
    shipped = [name for name in ROUTERS if (ROOT / "data" / "routers" / name).is_dir()]
    rows = dict(re.findall(r"^\| `(\w+)` \| (prompt|gate|controller) \|", README, re.MULTILINE))
    assert rows == {name: ROUTERS.get(name).spec.level for name in shipped}


@pytest.mark.parametrize("noun", docs.registries())
def test_every_plugin_is_on_the_page_of_plugins(noun: str) -> None:
    registry = docs.registries()[noun]
    assert registry.broken() == {}
    shown = docs.page("plugins.md")
    assert [name for name in registry if f"| `{name}` |" not in shown] == []
    assert f"<!-- list: {noun} -->" in PAGES["plugins.md"], f"give {noun} a list of its own"


def test_the_pages_of_events_and_endpoints_are_not_stale() -> None:
    assert PAGES["events.md"] == events_markdown(), (
        "run: python -m playground.core.document > playground/docs/events.md"
    )
    assert PAGES["endpoints.md"] == endpoints_markdown(), (
        "run: python -m playground.ui.document > playground/docs/endpoints.md"
    )


def test_no_page_names_a_document_that_is_not_in_the_project() -> None:
    foreign = re.compile(r"\bspecs?/|design\.md|preferences specification|design page", re.IGNORECASE)
    sources = [*(ROOT / "playground").rglob("*.py"), *(ROOT / "playground").rglob("*.md"), ROOT / "README.md"]
    assert [path.name for path in sources if foreign.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = ROOT if page == "README.md" else (DOCS / page).parent
    links = re.findall(r"\]\(([^)#]+)\)", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL))
    assert [link for link in links if "://" not in link and not (folder / link).exists()] == []


@pytest.mark.parametrize("folder", ["decisions", "results"])
def test_every_page_of_a_folder_is_in_its_index(folder: str) -> None:
    pages = {path.name for path in (DOCS / folder).glob("*.md")} - {"README.md"}
    assert set(re.findall(r"^- \[.+?\]\(([^)]+)\)", PAGES[f"{folder}/README.md"], re.MULTILINE)) == pages


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("results/") and "README" not in page])
def test_a_result_begins_with_its_table_and_gives_a_command(page: str) -> None:
    assert re.match(r"# .+\n\n\| ", PAGES[page])
    assert "```bash\n" in PAGES[page]


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("decisions/") and "README" not in page])
def test_a_decision_has_its_parts(page: str) -> None:
    parts = ["Context", "Decision", "What was rejected", "Figures"]
    assert re.findall(r"^## (.+)$", PAGES[page], re.MULTILINE) == parts


@pytest.mark.parametrize("page", PAGES)
def test_the_code_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`((?:playground|tests)/[\w/.]+)`", PAGES[page])
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_that_a_page_gives_exist(page: str) -> None:
    known = {tuple(command.split()) for command in commands(app)}
    groups = {command[:1] for command in known if len(command) > 1}
    named = [tuple(match.split()) for match in re.findall(r"python -m playground ([a-z]+(?: [a-z]+)?)", PAGES[page])]
    missing = [words for words in named if words not in known | groups]
    assert [words for words in missing if words[:1] not in known - groups] == []


def test_the_header_of_the_space_is_what_the_space_will_find() -> None:
    header = dict(line.split(": ", 1) for line in README.split("---\n")[1].strip().splitlines())
    pins = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE))
    assert header["sdk_version"] == pins["gradio"]
    assert (ROOT / header["app_file"]).is_file()
    assert header["license"] == "apache-2.0"
