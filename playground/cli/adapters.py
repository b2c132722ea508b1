"""`experts check`, `experts add` and `experts remove`: adapters from a folder, a zip file or a hub."""

from typing import Annotated

import typer

from playground.actions import experts
from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import base_with_progress, read_settings
from playground.core.values import Pool
from playground.settings import Settings

SourceArgument = Annotated[str, typer.Argument(help="The adapter's folder, a zip file of it, or a hub id: owner/name.")]
STATES = {"pass": "ok", "warn": "doubt", "fail": "failed"}


def check(source: SourceArgument, as_json: JsonFlag = False) -> None:
    """Check an adapter without adding it: base, modules, shapes, numbers, size. Exit with 1 when it does not fit."""
    with replying(as_json) as reply:
        settings = read_settings()
        candidate = _checked(source, experts.installed(settings), settings, reply)
        experts.discard(candidate)
        reply.value = candidate.checklist.as_json() | {"source": candidate.label}
        reply.failed = not candidate.checklist.ok


def add(
    source: SourceArgument,
    *,
    name: Annotated[str | None, typer.Option(help="Lower case and underscores.")] = None,
    title: Annotated[str | None, typer.Option(help="The title that people see.")] = None,
    description: Annotated[
        str | None,
        typer.Option(help="One sentence on what it is good at. Routers that were not trained on it use this."),
    ] = None,
    mark: Annotated[str | None, typer.Option(help="Two letters.")] = None,
    slot: Annotated[int | None, typer.Option(min=0, max=9, help="Colour, 0 to 9.")] = None,
    example: Annotated[list[str] | None, typer.Option(help="An example prompt. Can be given up to 16 times.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence of adapter and data.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check an adapter and add it to the experts. A running page has it after its next start."""
    with replying(as_json) as reply:
        settings = read_settings()
        pool = experts.installed(settings)
        candidate = _checked(source, pool, settings, reply)
        try:
            fields = {"name": name, "title": title, "description": description, "mark": mark, "slot": slot}
            card = experts.card_from(candidate.card, **fields, examples=example or None, licence=licence)
            experts.keep(candidate, card, pool)
        finally:
            experts.discard(candidate)
        reply.value = {"added": card.model_dump(), **candidate.checklist.as_json()}
        reply.say(f"{card.name} is added. Licence: {card.licence}.")


def remove(name: Annotated[str, typer.Argument(help="An expert that was added.")], as_json: JsonFlag = False) -> None:
    """Remove an added expert and delete its files. Experts that came with the playground cannot be removed."""
    with replying(as_json) as reply:
        experts.delete(read_settings(), name)
        reply.value = {"removed": name}
        reply.say(f"{name} is removed.")


def _checked(source: str, pool: Pool, settings: Settings, reply: Reply) -> experts.Candidate:
    """Check the adapter and say what was found, line by line."""
    base = base_with_progress(settings, reply)
    candidate = experts.check_source(source, base, pool, settings)
    reply.progress("")
    for line in candidate.checklist.lines:
        reply.say(f"{STATES[line.state]:<7} {line.title}: {line.detail} {line.remedy}".rstrip())
    return candidate
