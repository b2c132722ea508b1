"""The commands, put together."""

import typer

from playground.cli.adapters import add, check, remove
from playground.cli.ask import ask
from playground.cli.bench import bench
from playground.cli.db import db
from playground.cli.docs import docs
from playground.cli.doctor import doctor
from playground.cli.experts import experts
from playground.cli.finetune import finetune
from playground.cli.labels import labels
from playground.cli.routers import routers
from playground.cli.serve import serve
from playground.cli.shift import shift
from playground.cli.versions import versions

app = typer.Typer(
    name="playground",
    help="See where a prompt goes, compare answers blind, and teach the router from the labels.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    add_completion=False,
)
routers.command()(shift)
for command in (serve, ask, docs, doctor):
    app.command()(command)
for expert_command in (check, add, remove):
    experts.command()(expert_command)
for name, group in {
    "routers": routers,
    "experts": experts,
    "labels": labels,
    "finetune": finetune,
    "versions": versions,
    "bench": bench,
    "db": db,
}.items():
    app.add_typer(group, name=name)
