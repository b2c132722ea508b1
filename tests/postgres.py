"""A PostgreSQL server for tests: the one that PLAYGROUND_TEST_POSTGRES names, else one of its own.

Each test gets the address of an empty database.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

GIVEN = os.environ.get("PLAYGROUND_TEST_POSTGRES", "")
OWNER = "postgres"  # the server refuses to run as root


def binary(name: str) -> str | None:
    """Return the path of a program of PostgreSQL, on the path or where Debian puts it."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


def _as_owner(*words: str) -> None:
    owner = pwd.getpwnam(OWNER) if os.geteuid() == 0 else None
    who = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd="/", **who)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Return the address of a server, with `{}` in place of the database's name."""
    initdb, control = binary("initdb"), binary("pg_ctl")
    if not initdb or not control:
        pytest.skip("PostgreSQL is not installed, and PLAYGROUND_TEST_POSTGRES names no server")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "server"
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(folder, OWNER, OWNER)
            Path(place).chmod(0o755)
        _as_owner(initdb, "-D", str(folder), "-U", OWNER, "-A", "trust", "-N")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        _as_owner(control, "-D", str(folder), "-w", "-l", str(folder / "log"), "-o", options, "start")
        yield f"postgresql+psycopg://{OWNER}@/{{}}?host={folder}"
        _as_owner(control, "-D", str(folder), "-m", "immediate", "stop")


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the address of an empty database on a PostgreSQL server."""
    if GIVEN:
        yield GIVEN
        return
    server: str = request.getfixturevalue("postgres_server")
    name = "playground_test"
    admin = sa.create_engine(server.format("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield server.format(name)
    admin.dispose()
