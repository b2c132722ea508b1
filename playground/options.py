"""Settings of a plug-in: one class that is drawn as controls on the page and taken as `--option name=value`.

Knows nothing of the plug-ins. A field marked `fitted()` only counts when parameters are made, not when they are used.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from playground.errors import InvalidRequest


def fitted() -> dict[str, Any]:
    """Return the mark of an option that is fixed once parameters are fitted: `Field(…, json_schema_extra=fitted())`."""
    return {"fitted": True}


class Options(BaseModel):
    """Base of every plug-in's options. Each field needs a default and a description."""

    model_config = ConfigDict(frozen=True)  # stored options of an older release may hold more: they are left out

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> Self:
        """Return the options with `values` put in, texts included. Raise InvalidRequest that names the wrong one."""
        given = dict(values or {})
        unknown = sorted(set(given) - set(cls.model_fields))
        if unknown:
            known = ", ".join(cls.model_fields) or "none"
            raise InvalidRequest(f"There is no option {unknown[0][:40]!r}.", f"The options are: {known}.")
        try:
            return cls(**given)
        except ValidationError as error:
            problem = error.errors()[0]
            name = str(problem["loc"][0]) if problem["loc"] else "?"
            raise InvalidRequest(
                f"The option {name!r} cannot be used: {problem['msg'].lower()}.", "Give another value."
            ) from error

    def changed(self, values: Mapping[str, Any] | None) -> Self:
        """Return these options with `values` put in. Raise InvalidRequest that names the wrong one."""
        return self.of({**self.model_dump(), **(values or {})})

    @classmethod
    def controls(cls, *, run_time: bool = False) -> list[dict[str, Any]]:
        """Return what draws one control per option: name, type, default, description, minimum, maximum, choices.

        With `run_time`, options that are fixed once parameters are fitted are left out.
        """
        fields = cls.model_json_schema().get("properties", {})
        names = ("type", "default", "description", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum")
        return [
            {"name": name, **{key: field[key] for key in names if key in field}}
            for name, field in fields.items()
            if not (run_time and field.get("fitted"))
        ]


def read_options(texts: Sequence[str]) -> dict[str, str]:
    """Return `["k=8", "beta=0.2"]` as a mapping. Raise InvalidRequest for a text without `=`."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InvalidRequest(f"--option {text!r} cannot be read.", "Write it as name=value.")
        found[name.strip()] = value.strip()
    return found
