"""The queue of tasks.

```
            claim                 complete
queued ───────────────▶ leased ───────────────▶ done
   ▲                    │    │
   │  fail, or the      │    │  fail for good, or the last attempt is used up
   └─ lease runs out ───┘    └────────────────▶ failed
   └── cancel ──▶ cancelled
```

A task is given to one agent at a time, but it may be begun more than once: an agent that dies leaves a lease that runs out. What
tells two leases of a task apart is the number of the attempt. A result counts only from the agent that has the lease.
All times are the database's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Callable, Optional, Sequence

import asyncpg

from .database import Database
from .trust import Trust

STATES = ("queued", "leased", "done", "failed", "cancelled")

_COLUMNS = """tasks.id, tasks.kind, tasks.payload, tasks.min_trust::text, tasks.priority, tasks.state::text, tasks.attempt,
    tasks.max_attempts, tasks.run_after, tasks.leased_until, tasks.result, tasks.error, tasks.created_at, tasks.finished_at,
    (SELECT name FROM agents WHERE agents.id = tasks.agent_id) AS agent"""

# Seconds until a task that failed is tried again: 10, 20, 40, … up to an hour.
_BACK_OFF = "make_interval(secs => least(3600, 5 * 2 ^ least(attempt, 20)))"

_EXPIRE = """
WITH expired AS (
    SELECT id FROM tasks WHERE state = 'leased' AND leased_until <= now() FOR UPDATE SKIP LOCKED
)
UPDATE tasks SET
    state = (CASE WHEN attempt < max_attempts THEN 'queued' ELSE 'failed' END)::task_state,
    finished_at = CASE WHEN attempt < max_attempts THEN NULL ELSE now() END,
    error = 'the lease ran out',
    agent_id = NULL,
    leased_until = NULL
FROM expired WHERE tasks.id = expired.id
RETURNING tasks.id
"""

# What only few agents may do goes first among equals. Rows that another claim has locked are passed over, not waited for.
_CLAIM = f"""
WITH next AS (
    SELECT id FROM tasks
    WHERE state = 'queued' AND run_after <= now() AND min_trust <= $2::text::trust AND ($3::text[] IS NULL OR kind = ANY($3))
    ORDER BY priority DESC, min_trust DESC, id
    FOR UPDATE SKIP LOCKED
    LIMIT $4
)
UPDATE tasks SET state = 'leased', agent_id = $1, attempt = attempt + 1, leased_until = now() + make_interval(secs => $5)
FROM next WHERE tasks.id = next.id
RETURNING {_COLUMNS}
"""


@dataclass(frozen=True)
class NewTask:
    kind: str
    payload: Any
    min_trust: Trust
    priority: int
    max_attempts: int
    run_after: Optional[datetime]


async def give_back(connection: asyncpg.Connection, agent: int) -> None:
    """Queues what an agent had leased again. That attempt does not count: it was not the task's fault."""
    await connection.execute(
        "UPDATE tasks SET state = 'queued', attempt = attempt - 1, agent_id = NULL, leased_until = NULL"
        " WHERE agent_id = $1 AND state = 'leased'",
        agent,
    )


class Tasks:
    def __init__(self, database: Database, on_expired: Callable[[int], None] = lambda count: None):
        self._database = database
        self._on_expired = on_expired

    async def enqueue(self, task: NewTask) -> dict[str, Any]:
        row = await self._database.fetchrow(
            "INSERT INTO tasks (kind, payload, min_trust, priority, max_attempts, run_after)"
            f" VALUES ($1, $2, $3, $4, $5, coalesce($6, now())) RETURNING {_COLUMNS}",
            task.kind,
            task.payload,
            task.min_trust.value,
            task.priority,
            task.max_attempts,
            task.run_after,
        )
        assert row is not None
        return shown(row)

    async def claim(
        self, agent: int, kinds: Optional[Sequence[str]], count: int, seconds: float
    ) -> list[dict[str, Any]]:
        """Leases up to `count` tasks to an agent, the most urgent first. Leases that have run out are dealt with before."""
        await self.expire()
        async with self._database.transaction() as connection:
            # The tier as it is now, and held so until this ends.
            trust = await connection.fetchval(
                "UPDATE agents SET seen_at = now() WHERE id = $1 RETURNING trust::text", agent
            )
            if trust is None:
                return []
            rows = await connection.fetch(_CLAIM, agent, trust, kinds, count, seconds)
        order = list(Trust)
        tasks = sorted(rows, key=lambda row: (-row["priority"], -order.index(Trust(row["min_trust"])), row["id"]))
        return [shown(row) for row in tasks]

    async def renew(self, task: int, agent: int, attempt: int, seconds: float) -> Optional[dict[str, Any]]:
        return await self._leased(
            "UPDATE tasks SET leased_until = now() + make_interval(secs => $4) WHERE {lease} RETURNING {columns}",
            task,
            agent,
            attempt,
            seconds,
        )

    async def complete(self, task: int, agent: int, attempt: int, result: Any) -> Optional[dict[str, Any]]:
        return await self._leased(
            "UPDATE tasks SET state = 'done', result = $4, error = NULL, leased_until = NULL, finished_at = now()"
            " WHERE {lease} RETURNING {columns}",
            task,
            agent,
            attempt,
            result,
        )

    async def fail(self, task: int, agent: int, attempt: int, error: str, retry: bool) -> Optional[dict[str, Any]]:
        """Tried again later if attempts are left and `retry` says so."""
        return await self._leased(
            "UPDATE tasks SET"
            " state = (CASE WHEN $5 AND attempt < max_attempts THEN 'queued' ELSE 'failed' END)::task_state,"
            " finished_at = CASE WHEN $5 AND attempt < max_attempts THEN NULL ELSE now() END,"
            f" run_after = now() + {_BACK_OFF}, error = $4, agent_id = NULL, leased_until = NULL"
            " WHERE {lease} RETURNING {columns}",
            task,
            agent,
            attempt,
            error,
            retry,
        )

    async def _leased(self, sql: str, task: int, agent: int, attempt: int, *more: Any) -> Optional[dict[str, Any]]:
        """Nothing if the agent does not have this lease, or has it no more."""
        lease = "id = $1 AND agent_id = $2 AND attempt = $3 AND state = 'leased' AND leased_until > now()"
        row = await self._database.fetchrow(sql.format(lease=lease, columns=_COLUMNS), task, agent, attempt, *more)
        return shown(row) if row else None

    async def cancel(self, task: int) -> Optional[dict[str, Any]]:
        """Takes a task that nobody works on out of the queue."""
        row = await self._database.fetchrow(
            f"UPDATE tasks SET state = 'cancelled', finished_at = now() WHERE id = $1 AND state = 'queued' RETURNING {_COLUMNS}",
            task,
        )
        return shown(row) if row else None

    async def get(self, task: int) -> Optional[dict[str, Any]]:
        row = await self._database.fetchrow(f"SELECT {_COLUMNS} FROM tasks WHERE id = $1", task)
        return shown(row) if row else None

    async def list(
        self, state: Optional[str], kind: Optional[str], before: Optional[int], limit: int
    ) -> list[dict[str, Any]]:
        """The newest first; `before` is the id of the last one of the page before."""
        rows = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM tasks WHERE ($1::text IS NULL OR state = $1::text::task_state)"
            " AND ($2::text IS NULL OR kind = $2) AND ($3::bigint IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
            state,
            kind,
            before,
            limit,
        )
        return [shown(row) for row in rows]

    async def expire(self) -> int:
        """Queues tasks whose lease has run out, or fails them after the last attempt; how many."""
        count = len(await self._database.fetch(_EXPIRE))
        self._on_expired(count)
        return count

    async def forget(self) -> int:
        """Deletes what was finished long ago, as the settings say; how many."""
        rows = await self._database.fetch(
            "DELETE FROM tasks WHERE id IN (SELECT id FROM tasks WHERE finished_at < now() - make_interval(days => $1)"
            " ORDER BY finished_at LIMIT 10000) RETURNING id",
            self._database.settings.keep_days,
        )
        return len(rows)

    async def count(self) -> dict[tuple[str, str], int]:
        rows = await self._database.fetch("SELECT state::text, min_trust::text, count(*) FROM tasks GROUP BY 1, 2")
        return {(row["state"], row["min_trust"]): row["count"] for row in rows}

    async def oldest(self) -> float:
        """For how many seconds the task that has waited longest could have been begun."""
        row = await self._database.fetchrow(
            "SELECT coalesce(extract(epoch FROM now() - min(run_after)), 0)::float8 AS seconds"
            " FROM tasks WHERE state = 'queued' AND run_after <= now()"
        )
        assert row is not None
        return row["seconds"]


def shown(row: asyncpg.Record) -> dict[str, Any]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in row.items()
    }
