"""Run the migrations with Alembic, on the connection of `Database.upgrade`.

After each migration the triggers are made again. SQLite's foreign keys are off meanwhile, so they are checked too.
"""

from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlmodel import SQLModel

import playground.store.tables  # noqa: F401  (registers the tables)
from playground.errors import StorageError
from playground.store import triggers


def _after_each(*, ctx: MigrationContext, **_: Any) -> None:
    if ctx.connection is None:
        return
    triggers.recreate(ctx.connection)
    if ctx.connection.dialect.name == "sqlite":
        broken = ctx.connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if broken:
            raise StorageError(
                f"The database was not changed: {len(broken)} of its rows name rows that do not exist.",
                "Restore a backup, or move the file away to start afresh.",
            )


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
