"""The registry of agents."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Optional

import asyncpg

from .database import Database
from .tasks import give_back
from .trust import Trust

# Tells an agent's token from the operator's, and lets scanners find one that was committed somewhere.
TOKEN_PREFIX = "hermes_agent_"

_COLUMNS = "id, name, trust::text, labels, registered_at, seen_at"


@dataclass(frozen=True)
class Agent:
    id: int
    name: str
    trust: Trust


class NameTaken(Exception):
    pass


def _new_token() -> tuple[str, bytes]:
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    return token, sha256(token.encode()).digest()


class Agents:
    def __init__(self, database: Database):
        self._database = database

    async def register(self, name: str, trust: Trust, labels: dict[str, str]) -> tuple[dict[str, Any], str]:
        """The agent, and its token, which nobody can read again. Raises NameTaken."""
        token, digest = _new_token()
        try:
            row = await self._database.fetchrow(
                f"INSERT INTO agents (name, trust, token_digest, labels) VALUES ($1, $2, $3, $4) RETURNING {_COLUMNS}",
                name,
                trust.value,
                digest,
                labels,
            )
        except asyncpg.UniqueViolationError as error:
            raise NameTaken(name) from error
        assert row is not None
        return self._shown(row), token

    async def rotate(self, name: str) -> Optional[str]:
        """A new token; the old one is void at once."""
        token, digest = _new_token()
        row = await self._database.fetchrow("UPDATE agents SET token_digest = $2 WHERE name = $1 RETURNING id", name, digest)
        return token if row else None

    async def remove(self, name: str) -> bool:
        """What it was working on is queued again."""
        async with self._database.transaction() as connection:
            # The agent first: a claim that is under way waits here for the lock on its row, and then finds no agent.
            identifier = await connection.fetchval("SELECT id FROM agents WHERE name = $1 FOR UPDATE", name)
            if identifier is None:
                return False
            await give_back(connection, identifier)
            await connection.execute("DELETE FROM agents WHERE id = $1", identifier)
        return True

    async def by_token(self, token: str) -> Optional[Agent]:
        if not token.startswith(TOKEN_PREFIX):
            return None
        # Looked up by digest, so that how long it takes tells nothing about the tokens that exist.
        row = await self._database.fetchrow(
            "SELECT id, name, trust::text FROM agents WHERE token_digest = $1", sha256(token.encode()).digest()
        )
        return Agent(row["id"], row["name"], Trust(row["trust"])) if row else None

    async def heartbeat(self, agent: Agent) -> None:
        await self._database.fetchrow("UPDATE agents SET seen_at = now() WHERE id = $1", agent.id)

    async def get(self, name: str) -> Optional[dict[str, Any]]:
        row = await self._database.fetchrow(f"SELECT {_COLUMNS} FROM agents WHERE name = $1", name)
        return self._shown(row) if row else None

    async def list(self) -> list[dict[str, Any]]:
        return [self._shown(row) for row in await self._database.fetch(f"SELECT {_COLUMNS} FROM agents ORDER BY name")]

    async def count(self) -> dict[tuple[str, bool], int]:
        """How many of each tier are alive, and how many are not."""
        rows = await self._database.fetch(
            "SELECT trust::text, coalesce(seen_at > now() - make_interval(secs => $1), false) AS alive, count(*)"
            " FROM agents GROUP BY 1, 2",
            float(self._database.settings.agent_timeout),
        )
        return {(row["trust"], row["alive"]): row["count"] for row in rows}

    @staticmethod
    def _shown(row: asyncpg.Record) -> dict[str, Any]:
        return {
            "name": row["name"],
            "trust": row["trust"],
            "labels": row["labels"],
            "registered_at": row["registered_at"].isoformat(),
            "seen_at": row["seen_at"].isoformat() if row["seen_at"] else None,
        }
