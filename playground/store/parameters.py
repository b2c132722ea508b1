"""Store the files of a router version in the database, where replicas on one server find each other's versions."""

from pathlib import Path

from sqlmodel import Session, col, select

from playground.store.tables import VersionFileRow


def has_files(session: Session, version: str) -> bool:
    """Return whether the database holds the files of `version`."""
    wanted = select(VersionFileRow.name).where(col(VersionFileRow.version_id) == version)
    return session.exec(wanted.limit(1)).first() is not None


def add_files(session: Session, version: str, folder: Path) -> None:
    """Store every file of `folder` as a file of `version`, whose row is there. Raise OSError for an unreadable file."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        session.add(VersionFileRow(version_id=version, name=name, content=path.read_bytes()))
    session.flush()


def write_files(session: Session, version: str, folder: Path) -> None:
    """Write the stored files of `version` into `folder`. Raise OSError when the disk refuses."""
    for row in session.exec(select(VersionFileRow).where(col(VersionFileRow.version_id) == version)):
        path = folder / row.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row.content)
