"""Run the migrations with Alembic, on the connection of `Database.upgrade`. Triggers are made anew each time."""

from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlmodel import SQLModel

import playground.store.tables  # noqa: F401  (registers the tables)
from playground.store import triggers


def _after_each(*, ctx: MigrationContext, **_: Any) -> None:
    if ctx.connection is not None:
        triggers.recreate(ctx.connection)


def _run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_as_batch=True,
        transactional_ddl=True,  # SQLite can, once the driver leaves BEGIN to us
        on_version_apply=_after_each,  # type: ignore[arg-type]  # Alembic calls it by keyword
    )
    with context.begin_transaction():
        context.run_migrations()


_run()
