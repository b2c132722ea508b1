"""`bench …`: one command for each registered measurement of this machine. Its options are the command's flags."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from playground.bench.base import BENCHES, Bench
from playground.cli.reply import JsonFlag, Reply, replying
from playground.cli.start import read_settings

bench = typer.Typer(
    no_args_is_help=True,
    help="Measure this machine: how fast it decodes, for one visitor and for many.",
)


@bench.callback()
def about() -> None:
    """Keep each measurement a command of the group `bench`, even when there is only one."""


def command_of(subject: type[Bench]) -> Callable[..., None]:
    """Return a command that measures `subject`, with one flag for each of its options and `--json`."""

    def command(*, as_json: bool, **values: Any) -> None:
        with replying(as_json) as reply:
            reply.value = subject.of(values).run(read_settings(), reply.progress)
            _tell(reply)

    flags = [_flag(name, field) for name, field in subject.model_fields.items()]
    as_json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonFlag)
    signature = inspect.Signature([*flags, as_json])
    # typer reads both to learn the flags
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    return command


def _flag(name: str, field: FieldInfo) -> inspect.Parameter:
    """Return the flag of one option: its type, default, help and limits."""
    limits = {"min": "ge", "max": "le"}
    given = {key: getattr(rule, name) for key, name in limits.items() for rule in field.metadata if hasattr(rule, name)}
    flag = Annotated[field.annotation, typer.Option(help=field.description, **given)]  # type: ignore[name-defined]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=flag)


def _tell(reply: Reply) -> None:
    reply.progress("")
    for key, value in reply.value.items():
        reply.say(f"{key}: {value}")


for _name in BENCHES:
    bench.command(_name, help=BENCHES.get(_name).title)(command_of(BENCHES.get(_name)))
