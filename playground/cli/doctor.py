"""`doctor`: every setting and its value, and whether all that the playground needs is there."""

from typing import Annotated

import typer

from playground.cli.reply import JsonFlag, replying
from playground.cli.start import read_settings
from playground.doctor import run_checks, settings_markdown, settings_rows


def doctor(
    settings_page: Annotated[
        bool, typer.Option("--settings-markdown", help="Print the settings page of the documentation and nothing else.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check this machine and show every setting. Exit with 1 when something is wrong."""
    with replying(as_json) as reply:
        if settings_page:
            page = settings_markdown()
            reply.value = {"markdown": page}
            reply.say(page, end="")
            return
        settings = read_settings()
        rows = settings_rows(settings)
        for row in rows:
            reply.say(f"{row.variables[0]} = {row.value or '(empty)'}")
            reply.say(f"    {row.description}")
        reply.say()
        checks = []
        for check in run_checks(settings):
            reply.say(f"{'ok ' if check.ok else 'NOT'}  {check.name}: {check.detail}")
            checks.append({"name": check.name, "ok": check.ok, "detail": check.detail})
        reply.failed = not all(check["ok"] for check in checks)
        reply.value = {
            "ok": not reply.failed,
            "checks": checks,
            "settings": {row.name: row.value for row in rows},
        }
