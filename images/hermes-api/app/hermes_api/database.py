"""The pool of connections, and the migrations of the schema."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, AsyncIterator, Coroutine, Optional, TypeVar

import asyncpg

from .settings import Settings

T = TypeVar("T")

log = logging.getLogger("hermes.database")

# What means "not now", rather than "this request is wrong".
UNAVAILABLE = (
    OSError,  # TimeoutError among them
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
)

# Any number that nobody else uses in this database: "hermes" in ASCII.
_MIGRATION_LOCK = 0x6865726D6573
_CONNECT_SECONDS = 5.0
_ACQUIRE_SECONDS = 5.0
_MIGRATE_SECONDS = 120.0
_MIGRATIONS = Path(__file__).parent / "migrations"


class MigrationError(Exception):
    pass


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


def migrations(folder: Path = _MIGRATIONS) -> list[Migration]:
    """`0001_what_it_does.sql`, numbered from 1 without a gap."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        name = re.fullmatch(r"([0-9]{4})_([a-z0-9_]+)", path.stem)
        if name is None or int(name[1]) != len(found) + 1:
            raise MigrationError(f"{path.name} is not called {len(found) + 1:04}_NAME.sql")
        found.append(Migration(len(found) + 1, name[2], path.read_text("utf-8")))
    return found


class Database:
    def __init__(self, settings: Settings, pool: asyncpg.Pool):
        self._pool = pool
        self.settings = settings

    @classmethod
    async def open(cls, settings: Settings) -> "Database":
        """Waits for the server, for as long as the settings say, then brings the schema up to date."""
        deadline = asyncio.get_running_loop().time() + settings.database_wait
        while True:
            try:
                connection = await asyncpg.connect(**_arguments(settings), command_timeout=_MIGRATE_SECONDS)
                break
            except UNAVAILABLE as error:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
                log.warning("the database is not there yet", extra={"error": _told(error)})
                await asyncio.sleep(1)
        try:
            await migrate(connection, migrations())
        finally:
            await connection.close(timeout=_CONNECT_SECONDS)
        pool = await asyncpg.create_pool(
            **_arguments(settings),
            min_size=settings.pool_min,
            max_size=settings.pool_max,
            command_timeout=settings.statement_timeout,
            init=_prepare,
        )
        return cls(settings, pool)

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self._pool.close(), timeout=10)
        except asyncio.TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the pool; waits a few seconds for a free one."""
        async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection]:
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self.connection() as connection:
            return await connection.fetch(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: Any) -> Optional[asyncpg.Record]:
        async with self.connection() as connection:
            return await connection.fetchrow(sql, *arguments)

    async def ping(self, seconds: float) -> Optional[str]:
        """Why the database does not answer within this time, or nothing."""
        try:
            await within(seconds, self.fetchrow("SELECT 1"))
            return None
        except asyncio.TimeoutError:
            return "no answer in time"
        except UNAVAILABLE as error:
            return _told(error)

    def connections(self) -> tuple[int, int]:
        """Those that are open, and those of them that nobody uses."""
        return self._pool.get_size(), self._pool.get_idle_size()


def _arguments(settings: Settings) -> dict[str, Any]:
    context = settings.ssl()
    return {
        "host": settings.database_host,
        "port": settings.database_port,
        "database": settings.database_name,
        "user": settings.database_user,
        "password": settings.database_password,
        # Not None, for which asyncpg would look into PGSSLMODE.
        "ssl": context if context is not None else False,
        "timeout": _CONNECT_SECONDS,
        "server_settings": {
            "application_name": "hermes-api",
            # The client's time limit abandons a statement; this ends it on the server too.
            "statement_timeout": str(int(max(settings.statement_timeout, _MIGRATE_SECONDS) * 1000)),
            "idle_in_transaction_session_timeout": "60000",
        },
    }


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


_abandoned: set[asyncio.Future[Any]] = set()


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.wait_for`, which also waits for the end of what it has cancelled: a server that hangs lets a cancelled
    statement hang for some seconds more. Here that goes on by itself."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            _abandoned.add(task)
            task.add_done_callback(_forget)
    if not done:
        raise asyncio.TimeoutError
    return task.result()


def _forget(task: asyncio.Future[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        # Asked for, so that asyncio does not report an error that nobody looked at.
        task.exception()


def _told(error: BaseException) -> str:
    """Kind and text; libraries put no password into it."""
    return f"{error.__class__.__name__}: {error}".rstrip(": ")


async def migrate(connection: asyncpg.Connection, wanted: list[Migration]) -> int:
    """Applies what is missing; how many. Safe to run from several processes at once.

    Migrations only add. So a version that was rolled back runs on the schema of a later one, whose migrations it does not know.
    """
    await connection.execute("SELECT pg_advisory_lock($1)", _MIGRATION_LOCK)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL,"
            " digest text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        rows = await connection.fetch("SELECT version, digest FROM schema_migrations ORDER BY version")
        applied = {row["version"]: row["digest"] for row in rows}
        for version in applied.keys() - {migration.version for migration in wanted}:
            log.warning("the schema is of a later version of hermes-api", extra={"migration": version})
        count = 0
        for migration in wanted:
            if migration.version in applied:
                if applied[migration.version] != migration.digest:
                    raise MigrationError(f"migration {migration.version} was changed after it was applied")
                continue
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO schema_migrations (version, name, digest) VALUES ($1, $2, $3)",
                    migration.version,
                    migration.name,
                    migration.digest,
                )
            log.info("migration applied", extra={"migration": migration.version, "name_of_migration": migration.name})
            count += 1
        return count
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _MIGRATION_LOCK)
