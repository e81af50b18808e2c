"""An empty database for each test, on the real server that the environment names."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from pathlib import Path
from typing import Any, Iterator

import asyncpg
import pytest
from starlette.testclient import TestClient

# The folder is what goes into the image: no bytecode may be left in it.
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent.parent / "app"))

from hermes_api.application import create  # noqa: E402
from hermes_api.settings import Settings  # noqa: E402

TOKEN = "operator-token-of-the-tests"


def server() -> dict[str, Any]:
    return {
        "host": os.environ["HERMES_TEST_HOST"],
        "port": int(os.environ["HERMES_TEST_PORT"]),
        "user": os.environ["HERMES_TEST_USER"],
        "password": os.environ["HERMES_TEST_PASSWORD"],
    }


async def as_admin(database: str, *statements: str) -> None:
    connection = await asyncpg.connect(**server(), database=database, ssl=False)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def database() -> Iterator[tuple[str, str]]:
    """A database that an ordinary role of the same name owns, and its password."""
    name = "hermes_" + secrets.token_hex(4)
    password = "p'w d%/@:" + secrets.token_hex(4)
    quoted = password.replace("'", "''")
    asyncio.run(
        as_admin("postgres", f"CREATE ROLE {name} LOGIN PASSWORD '{quoted}'", f"CREATE DATABASE {name} OWNER {name}")
    )
    yield name, password
    asyncio.run(as_admin("postgres", f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}"))


@pytest.fixture
def env(database: tuple[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment of the application; nothing is in its database."""
    name, password = database
    asyncio.run(
        as_admin(
            name,
            # A test that failed may have left a connection, and with it a lock.
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'",
            "DROP SCHEMA public CASCADE",
            "CREATE SCHEMA public AUTHORIZATION pg_database_owner",
        )
    )
    (tmp_path / "token").write_text(TOKEN + "\n")
    (tmp_path / "password").write_text(password)
    return {
        "DATABASE_HOST": server()["host"],
        "DATABASE_PORT": str(server()["port"]),
        "DATABASE_NAME": name,
        "DATABASE_USER": name,
        "DATABASE_PASSWORD_FILE": str(tmp_path / "password"),
        "DATABASE_WAIT_SECONDS": "5",
        "HERMES_TOKEN_FILE": str(tmp_path / "token"),
        "HERMES_DOCKER_SOCKET": str(tmp_path / "no-docker.sock"),
    }


@pytest.fixture
def settings(env: dict[str, str]) -> Settings:
    return Settings.from_env(env)


@pytest.fixture
def client(settings: Settings) -> Iterator["Hermes"]:
    with TestClient(create(settings), raise_server_exceptions=False) as client:
        yield Hermes(client)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Hermes:
    """What the tests ask, in few words."""

    def __init__(self, http: TestClient):
        self.http = http

    def operator(self, method: str, path: str, **more: Any) -> Any:
        return self.http.request(method, path, headers=bearer(TOKEN), **more)

    def register(self, name: str, trust: str) -> str:
        response = self.operator("POST", "/v1/agents", json={"name": name, "trust": trust})
        assert response.status_code == 201, response.text
        return response.json()["token"]

    def enqueue(self, **task: Any) -> int:
        response = self.operator("POST", "/v1/tasks", json={"kind": "shell", **task})
        assert response.status_code == 201, response.text
        return response.json()["id"]

    def task(self, task: int) -> dict[str, Any]:
        return self.operator("GET", f"/v1/tasks/{task}").json()

    def agent(self, token: str, path: str, **body: Any) -> Any:
        return self.http.post(f"/v1/agent/{path}", headers=bearer(token), json=body)

    def claim(self, token: str, **body: Any) -> list[dict[str, Any]]:
        response = self.agent(token, "claim", **body)
        assert response.status_code == 200, response.text
        return response.json()["tasks"]
