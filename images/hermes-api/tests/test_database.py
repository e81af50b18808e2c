"""Below HTTP: migrations, claims at the same time, what happens when the server goes away."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import httpx
import pytest
from conftest import TOKEN, bearer, server
from hermes_api.agents import Agents
from hermes_api.application import create
from hermes_api.database import Database, Migration, MigrationError, _arguments, migrate, migrations
from hermes_api.settings import Settings
from hermes_api.tasks import NewTask, Tasks
from hermes_api.trust import Trust


def task(kind: str = "shell", max_attempts: int = 3) -> NewTask:
    return NewTask(kind, None, Trust.TRUSTED, 0, max_attempts, None)


@asynccontextmanager
async def opened(settings: Settings):
    database = await Database.open(settings)
    try:
        yield database
    finally:
        await database.close()


def test_many_claim_at_once_and_each_task_goes_to_one(settings: Settings) -> None:
    async def run() -> None:
        async with opened(replace(settings, pool_max=20)) as database:
            agents, tasks = Agents(database), Tasks(database)
            for number in range(16):
                await agents.register(f"a{number}", Trust.TRUSTED, {})
            rows = await database.fetch("SELECT id FROM agents")
            wanted = {(await tasks.enqueue(task()))["id"] for _ in range(200)}

            async def work(agent: int) -> list[int]:
                got = []
                while claimed := await tasks.claim(agent, None, 3, 60.0):
                    got += [one["id"] for one in claimed]
                return got

            got = [one for each in await asyncio.gather(*(work(row["id"]) for row in rows)) for one in each]
            assert set(got) == wanted
            assert max(Counter(got).values()) == 1

    asyncio.run(run())


def test_a_claim_does_not_wait_for_another(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as database:
            agents, tasks = Agents(database), Tasks(database)
            await agents.register("a", Trust.TRUSTED, {})
            agent = (await database.fetchrow("SELECT id FROM agents"))["id"]
            first, second = [(await tasks.enqueue(task()))["id"] for _ in range(2)]
            async with database.transaction() as other:
                await other.execute("SELECT FROM tasks WHERE id = $1 FOR UPDATE", first)
                (claimed,) = await asyncio.wait_for(tasks.claim(agent, None, 5, 60.0), timeout=2)
                assert claimed["id"] == second

    asyncio.run(run())


def test_finished_tasks_are_forgotten_after_their_time(settings: Settings) -> None:
    async def run() -> None:
        async with opened(settings) as database:
            tasks = Tasks(database)
            old, young, queued = [(await tasks.enqueue(task()))["id"] for _ in range(3)]
            for one in (old, young):
                await tasks.cancel(one)
            await database.fetch(
                "UPDATE tasks SET finished_at = now() - make_interval(days => $2) WHERE id = $1", old, settings.keep_days + 1
            )
            assert await tasks.forget() == 1
            assert [one["id"] for one in await tasks.list(None, None, None, 10)] == [queued, young]

    asyncio.run(run())


def test_several_start_at_once_on_an_empty_database(settings: Settings) -> None:
    async def run() -> None:
        opened = await asyncio.gather(*(Database.open(settings) for _ in range(4)))
        rows = await opened[0].fetch("SELECT version FROM schema_migrations")
        assert [row["version"] for row in rows] == [migration.version for migration in migrations()]
        for database in opened:
            await database.close()
        # And once more, on one that is up to date.
        again = await Database.open(settings)
        await again.close()

    asyncio.run(run())


def test_a_migration_is_whole_or_not_at_all_and_never_changes(settings: Settings, tmp_path: Path) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(**_arguments(settings))
        good = Migration(1, "good", "CREATE TABLE good (a int)")
        bad = Migration(2, "bad", "CREATE TABLE half (a int); SELECT 1 / 0")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(connection, [good, bad])
        assert await connection.fetchval("SELECT to_regclass('good')") == "good"
        assert await connection.fetchval("SELECT to_regclass('half')") is None
        assert await migrate(connection, [good]) == 0
        with pytest.raises(MigrationError, match="changed"):
            await migrate(connection, [replace(good, sql="CREATE TABLE good (b int)")])
        # The lock is free again, whatever happened; a later version's schema is no reason not to start.
        assert await migrate(connection, []) == 0
        await connection.close()

    asyncio.run(run())
    (tmp_path / "0002_gap.sql").write_text("")
    with pytest.raises(MigrationError, match="0001_NAME"):
        migrations(tmp_path)


class Relay:
    """Between the application and the server, to take the server away: `refuse` connections, or leave them `silent`."""

    def __init__(self) -> None:
        self.port = 0
        self.silent = False
        self._server: asyncio.AbstractServer | None = None
        self._tasks: set[asyncio.Task] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        self._server.close()
        for one in list(self._tasks):
            one.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        to = None
        try:
            back, to = await asyncio.open_connection(server()["host"], server()["port"])
            await asyncio.gather(self._copy(reader, to), self._copy(back, writer))
        except (asyncio.CancelledError, OSError):
            pass
        finally:
            self._tasks.discard(asyncio.current_task())
            for one in (writer, to):
                if one is not None:
                    one.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            while self.silent:
                await asyncio.sleep(0.05)
            writer.write(data)
            await writer.drain()
        writer.close()


def test_without_its_database_it_says_so_and_recovers(settings: Settings) -> None:
    async def run() -> None:
        relay = Relay()
        await relay.start()
        app = create(replace(settings, database_host="127.0.0.1", database_port=relay.port))
        async with app.router.lifespan_context(app):
            async with httpx.AsyncClient(app=app, base_url="http://hermes", headers=bearer(TOKEN), timeout=30) as http:

                async def status(path: str) -> int:
                    return (await http.get(path)).status_code

                assert (await status("/health"), await status("/v1/agents")) == (200, 200)
                await relay.refuse()
                assert (await status("/health"), await status("/v1/agents")) == (503, 503)
                assert (await http.get("/health")).json()["status"] == "failing"
                metrics = (await http.get("/metrics")).text
                assert "hermes_database_up 0.0" in metrics and "hermes_tasks{" not in metrics
                await relay.start()
                assert (await status("/health"), await status("/v1/agents")) == (200, 200)

                relay.silent = True
                begin = asyncio.get_running_loop().time()
                assert await status("/health") == 503
                assert asyncio.get_running_loop().time() - begin < 4
                relay.silent = False
                assert await status("/health") == 200
                assert "hermes_database_up 1.0" in (await http.get("/metrics")).text
        await relay.refuse()

    asyncio.run(run())


def test_a_pool_that_is_used_up_is_told_and_not_waited_for_for_ever(settings: Settings) -> None:
    async def run() -> None:
        app = create(replace(settings, pool_max=1))
        async with app.router.lifespan_context(app):
            async with httpx.AsyncClient(app=app, base_url="http://hermes", headers=bearer(TOKEN), timeout=30) as http:
                async with app.state.database.connection():
                    assert (await http.get("/v1/agents")).status_code == 503
                assert (await http.get("/v1/agents")).status_code == 200

    asyncio.run(run())
