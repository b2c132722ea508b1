"""Keep the versions of routers: parameters on disk, rows in the database, the one in force, promote and roll back.

Parameters are never overwritten. They are checked against their hash whenever they are read, so a rollback decides
exactly as before. The caller checks that only an admin promotes.
"""

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sqlmodel import Session
from ulid import ULID

from playground.errors import ArtefactError, InvalidRequest, NotReady, StorageError
from playground.routers.base import ROUTERS, Beginning, Router
from playground.routers.library import SHIPPED
from playground.settings import Settings
from playground.store import parameters
from playground.store import versions as rows
from playground.store.database import Database
from playground.store.tables import RouterVersionRow
from playground.store.versions import VersionInfo

CACHED = 32
SHORT_HASH = 8


def folder_hash(folder: Path) -> str:
    """Return the SHA-256 of the names and bytes of the files in `folder`. Raise ArtefactError for an unreadable one."""
    digest = hashlib.sha256()
    try:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            blob = path.read_bytes()
            digest.update(f"{path.relative_to(folder).as_posix()}\n{len(blob)}\n".encode())
            digest.update(blob)
    except OSError as error:
        raise ArtefactError(f"The parameters in {folder.name} cannot be read: {error.strerror}.") from error
    return digest.hexdigest()


def _drop_oldest(kept: dict[str, Router]) -> None:
    """Drop the first entries when there are more than `CACHED`."""
    while len(kept) > CACHED:
        kept.pop(next(iter(kept)))


class Versions:
    """Keep every version of every router. Several threads may use it. Loaded routers are shared and never changed."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        shipped: Path = SHIPPED,
        beginning: Callable[[], Beginning] | None = None,
    ) -> None:
        self.database = database
        self.settings = settings
        self.shipped = shipped
        self.beginning = beginning
        self._begun: dict[str, str] = {}
        self._loaded: dict[str, Router] = {}
        self._changed: dict[str, Router] = {}  # with options; apart, so that visitors cannot push versions out
        self._shipped_hashes: dict[str, str] = {}
        self._lock = threading.RLock()

    def current(self, router: str) -> str:
        """Return the id of the version in force: the last promoted, else the shipped one. Its row is made at first use.

        Raise InvalidRequest for an unknown router, NotReady for one that ships no parameters and was never promoted.
        """
        with self.database.read() as session:
            promoted = rows.in_force(session, router)
        return promoted or self._first(router)

    def load(
        self, router: str, version: str | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Router, str]:
        """Return the router and the id of its `version`, by default the one in force.

        The newest `CACHED` are kept, so the same id gives the same object. `options` change settings of the router
        that count at run time. Raise InvalidRequest when `version` is unknown or of another router, or for an option
        that cannot be changed; NotReady for a router without parameters; ArtefactError when its files are damaged.
        """
        found, wanted = self._load(router, version or self.current(router))
        return (self._tuned(found, wanted, options), wanted) if options else (found, wanted)

    def forget(self) -> None:
        """Drop every loaded router, so that the next one is read anew: the files of a version were changed."""
        with self._lock:
            self._loaded.clear()
            self._changed.clear()

    def _tuned(self, router: Router, version: str, options: Mapping[str, Any]) -> Router:
        """Return `router` with `options`. The same options give the same object, because gates are kept by router."""
        key = f"{version} {sorted((name, str(value)) for name, value in options.items())}"
        with self._lock:
            if key not in self._changed:
                self._changed[key] = router.with_options(options)
                _drop_oldest(self._changed)
            return self._changed[key]

    def _load(self, router: str, wanted: str) -> tuple[Router, str]:
        with self._lock:
            if wanted not in self._loaded:
                self._loaded[wanted] = self._read(router, wanted)
                _drop_oldest(self._loaded)
            found = self._loaded[wanted]
        if found.spec.name != router:
            raise InvalidRequest(
                f"Version {wanted} belongs to {found.spec.name}, not to {router}.", "Choose another version."
            )
        return found, wanted

    def create(
        self,
        router: Router,
        *,
        parent: str | None,
        metrics: Mapping[str, Any],
        labels_hash: str,
        note: str,
        config: Mapping[str, Any] | None = None,
        encoder: str = "",
        training_run: str | None = None,
    ) -> str:
        """Store `router`'s parameters as a draft and return the version's id. Raise StorageError for a full disk."""
        version = str(ULID())
        self._keep(version, router.save)
        row = RouterVersionRow(
            id=version,
            router=router.spec.name,
            level=router.spec.level,
            parent_id=parent,
            params_path=f"versions/{version}",
            params_sha256=folder_hash(self._folder(version)),
            config=dict(config or {}),
            metrics=dict(metrics),
            labels_hash=labels_hash,
            encoder=encoder,
            training_run_id=training_run,
            note=note,
        )
        with self.database.write() as session:
            rows.add_version(session, row)
            self._share(session, version)
        return version

    def promote(self, version: str, *, by: str, reason: str = "", only_from: str | None = None) -> str:
        """Put `version` in force and return its id. `only_from` refuses when another version came into force meanwhile.

        Raise InvalidRequest for an unknown or already current version, ArtefactError when its files are damaged.
        """
        with self.database.read() as session:
            router = rows.version_row(session, version).router
        before = self._current_or_none(router)
        if before == version:
            raise InvalidRequest("This version is in force already.", "Choose another one.")
        if only_from is not None and before != only_from:
            raise InvalidRequest("Another version was promoted meanwhile.", "Look at it, then promote again.")
        self.load(router, version)
        if before is not None:
            self._keep_shipped(router, before)
        self._record(router, version, action="promote", before=before, by=by, reason=reason)
        if self.shadow(router) == version:
            self.set_shadow(router, None)
        return version

    def rollback(self, router: str, *, by: str, reason: str = "") -> str:
        """Put the previous version in force again and return its id. A second call goes further back.

        Raise InvalidRequest when nothing was promoted.
        """
        before = self.current(router)
        with self.database.read() as session:
            target = rows.before_current(session, router)
        if target is None:
            raise InvalidRequest("There is no earlier version to return to.", "Promote a version first.")
        self.load(router, target)
        self._record(router, target, action="rollback", before=before, by=by, reason=reason)
        return target

    def set_shadow(self, router: str, version: str | None) -> None:
        """Let `version` decide beside the one in force without serving. None ends that. Raise InvalidRequest.

        A version that is in force already would only agree with itself, so it is refused.
        """
        if version is not None and version == self.current(router):
            raise InvalidRequest("This version is in force already.", "Choose a draft.")
        if version is not None:
            self.load(router, version)
        with self.database.write() as session:
            before = rows.shadow_of(session, router)
            for each, is_on in ((before, False), (version, True)):
                if each is not None and before != version:
                    rows.add_shadow(session, each, is_on=is_on)

    def shadow(self, router: str) -> str | None:
        """Return the version that decides beside the one in force, if there is one."""
        with self.database.read() as session:
            return rows.shadow_of(session, router)

    def beside(self, router: str, serving: str) -> tuple[Router, str] | None:
        """Return the shadow of `router` for a run that the version `serving` serves. A version has no shadow itself."""
        found = self.shadow(router)
        return None if found is None or found == serving else self.load(router, found)

    def history(self, router: str) -> list[VersionInfo]:
        """Return every version of `router`, newest first. The one in force is marked."""
        current = self.current(router)
        with self.database.read() as session:
            return rows.versions_of(session, router, current=current)

    def promotions(self, router: str) -> list[rows.PromotionInfo]:
        """Return every promotion and rollback of `router`, oldest first."""
        with self.database.read() as session:
            return rows.promotions(session, router)

    def shipped_id(self, router: str) -> str:
        """Return the id of the shipped parameters: `NAME-shipped-` and 8 digits of their hash."""
        return f"{router}-shipped-{self._shipped_hash(router)[:SHORT_HASH]}"

    def _is_shipped(self, router: str, version: str) -> bool:
        """Return whether `version` names the parameters that this release ships."""
        return (self.shipped / router).is_dir() and version == self.shipped_id(router)

    def _shipped_hash(self, router: str) -> str:
        with self._lock:
            if router not in self._shipped_hashes:
                self._shipped_hashes[router] = folder_hash(self.shipped / router)
            return self._shipped_hashes[router]

    def _first(self, router: str) -> str:
        """Return the id of what a router has before any promotion: shipped parameters, else those it begins with."""
        ROUTERS.get(router)  # an unknown router is refused first
        return self._seed(router) if (self.shipped / router).is_dir() else self._begin(router)

    def _begin(self, router: str) -> str:
        """Return the id of the parameters that a router without shipped ones begins with. Make them once.

        Raise NotReady for a router that has to be fitted first.
        """
        with self._lock:
            if router in self._begun:
                return self._begun[router]
            if self.beginning is None:
                raise NotReady(
                    f"The router {router!r} has no parameters yet.",
                    f"Fit it: python -m playground routers fit {router}",
                )
            made = ROUTERS.get(router).begin(self.beginning())
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place) / router
                made.save(folder)
                found = folder_hash(folder)
                version = f"{router}-begun-{found[:SHORT_HASH]}"
                if not self._folder(version).is_dir():
                    self._keep(version, lambda target: shutil.copytree(folder, target, dirs_exist_ok=True))
            self._ensure_row(version, router, found, note="made at its first use, from nothing but the examples")
            self._begun[router] = version
            return version

    def _seed(self, router: str) -> str:
        """Return the id of the shipped version. Make its row when it is missing."""
        version = self.shipped_id(router)
        self._ensure_row(version, router, self._shipped_hash(router), note="ships with the app")
        return version

    def _ensure_row(self, version: str, router: str, params_sha256: str, *, note: str) -> None:
        with self.database.read() as session:
            if session.get(RouterVersionRow, version) is not None:
                return
        with self.database.write() as session:
            if session.get(RouterVersionRow, version) is None:
                level = ROUTERS.get(router).spec.level
                row = RouterVersionRow(id=version, router=router, level=level, params_sha256=params_sha256, note=note)
                rows.add_version(session, row)

    def _current_or_none(self, router: str) -> str | None:
        try:
            return self.current(router)
        except NotReady:
            return None

    def _record(self, router: str, version: str, *, action: str, before: str | None, by: str, reason: str) -> None:
        with self.database.write() as session:
            if (rows.in_force(session, router) or before) != before:
                raise InvalidRequest("Another version came into force meanwhile.", "Look at it, then try again.")
            for each in (version, before):
                self._share(session, each or "")
            rows.add_promotion(session, router, version, action=action, from_version=before, by=by, reason=reason)

    def _read(self, router: str, version: str) -> Router:
        with self.database.read() as session:
            found = self._row(session, router, version)
            expected, name = found.params_sha256, found.router
        folder = self._folder(version)
        if not folder.is_dir() and self._is_shipped(name, version):
            folder = self.shipped / name
        if not folder.is_dir():
            self._fetch(version)
        if not folder.is_dir():
            raise ArtefactError(f"The parameters of version {version} are missing.", "Promote another version.")
        if folder_hash(folder) != expected:
            raise ArtefactError(f"The parameters of version {version} are damaged.", "Promote another version.")
        return ROUTERS.get(name).load(folder)

    def _row(self, session: Session, router: str, version: str) -> RouterVersionRow:
        row = session.get(RouterVersionRow, version)
        if row is None and self._is_shipped(router, version):
            session.rollback()  # ends the reading: the row is written on a connection of its own
            self._seed(router)
        return row or rows.version_row(session, version)

    def _folder(self, version: str) -> Path:
        return self.settings.data_dir / "versions" / version

    def _share(self, session: Session, version: str) -> None:
        """Store the files of a version for other replicas, once. With SQLite one machine alone has them."""
        folder = self._folder(version)
        if self.database.is_sqlite or not folder.is_dir() or parameters.has_files(session, version):
            return
        try:
            parameters.add_files(session, version, folder)
        except OSError as error:
            raise ArtefactError(f"The parameters of version {version} cannot be read: {error.strerror}.") from error

    def _fetch(self, version: str) -> None:
        """Write the files of a version that another replica stored into the data folder. Do nothing when none did."""
        with self.database.read() as session:
            if parameters.has_files(session, version):
                self._keep(version, lambda folder: parameters.write_files(session, version, folder))

    def _keep_shipped(self, router: str, version: str) -> None:
        """Copy shipped parameters before another version replaces them: a later release can ship others."""
        if self._is_shipped(router, version) and not self._folder(version).is_dir():
            self._keep(version, lambda folder: shutil.copytree(self.shipped / router, folder, dirs_exist_ok=True))

    def _keep(self, version: str, write: Callable[[Path], object]) -> None:
        """Let `write` fill a folder. The folder gets its name only when it is complete."""
        folder = self._folder(version)
        partial = folder.with_name(f"{version}.part")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write(partial)
            partial.rename(folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise StorageError(
                f"The new version could not be saved: {error.strerror or error}.", "Free some space and try again."
            ) from error
