"""Templates of the page: a text that is put into one must never run as code."""

from pathlib import Path

from playground.ui import parts

STATIC = Path(__file__).resolve().parents[2] / "static"


def test_no_template_puts_a_value_where_the_framework_would_run_it() -> None:
    """Gradio fills `{{value}}` before it runs `${…}`, so a value that holds `${…}` would be run."""
    templates = {path.name: path.read_text("utf-8") for path in STATIC.rglob("*.html")} | {"STATUS": parts.STATUS}
    assert len(templates) > 1
    assert [name for name, text in templates.items() if "{{" in text] == []
