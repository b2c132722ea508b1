"""Make the documentation page on events from their classes: `python -m playground.core.document`."""

import dataclasses
import inspect
import re

from playground.core.events import EVENTS, Event

HEAD = """# Events

What happens during a run, as a stream of frozen values. This page is made from the code:
`python -m playground.core.document > playground/docs/events.md`.

E is the number of experts in the pool, L of layers, T of prompt tokens, K of tokens so far. An event is stored and sent
as JSON by `to_dict` in `playground/core/events.py`; arrays become base64 with their type and shape.
"""


def events_markdown() -> str:
    """Return the page: one section for each kind of event, the fields that all have first."""
    return "\n".join([HEAD, _section("Every event", Event), *(_section(name, kind) for name, kind in EVENTS.items())])


def _section(title: str, kind: type[Event]) -> str:
    common = () if kind is Event else {field.name for field in dataclasses.fields(Event)}
    rows = [
        f"| `{field.name}` | {_type(field.type)} | {_default(field)} |"
        for field in dataclasses.fields(kind)
        if field.name not in common
    ]
    text = inspect.cleandoc(kind.__doc__ or "")
    return "\n".join([f"## {title}", "", text, "", "| field | type | default |", "| --- | --- | --- |", *rows, ""])


def _type(annotation: object) -> str:
    name = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    plain = re.sub(r"\b(?:numpy|typing|playground[.\w]*)[.](?=[A-Za-z])", "", name)
    return f"`{plain.replace(' | ', ' or ')}`"


def _default(field: dataclasses.Field[object]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    return "" if field.default_factory is dataclasses.MISSING else "empty"


if __name__ == "__main__":
    print(events_markdown(), end="")
