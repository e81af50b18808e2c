"""What Prometheus reads."""

from __future__ import annotations

import asyncio
from typing import Optional

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from .agents import Agents
from .database import UNAVAILABLE, Database, within
from .tasks import STATES, Tasks
from .trust import Trust

_SECONDS = 2.0


class Metrics:
    def __init__(self) -> None:
        # One for each application, not one for each process: tests make many.
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "hermes_http_requests_total", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "hermes_http_request_duration_seconds", "Time to answer", ["method", "route"], registry=self.registry
        )
        self.claimed = Counter("hermes_tasks_claimed_total", "Leases given", ["trust"], registry=self.registry)
        self.ended = Counter(
            "hermes_leases_ended_total", "Leases ended: done, failed, expired", ["how"], registry=self.registry
        )
        for how in ("done", "failed", "expired"):
            self.ended.labels(how)
        self.database_up = Gauge("hermes_database_up", "1 if the database answers", registry=self.registry)
        self.connections = Gauge("hermes_database_connections", "Connections of the pool", ["use"], registry=self.registry)
        self.tasks = Gauge("hermes_tasks", "Tasks in the database", ["state", "min_trust"], registry=self.registry)
        self.oldest = Gauge(
            "hermes_task_wait_seconds", "How long the longest waiting task could have been begun", registry=self.registry
        )
        self.agents = Gauge("hermes_agents", "Registered agents", ["trust", "alive"], registry=self.registry)

    async def render(
        self, database: Database, tasks: Tasks, agents: Agents, accept: Optional[str]
    ) -> tuple[bytes, str]:
        """The text and its content type. Without the database it says so, and leaves out what only the database knows."""
        counts = None
        try:
            counts = await within(_SECONDS, self._ask(tasks, agents))
        except (asyncio.TimeoutError, *UNAVAILABLE):
            pass
        # From here on nobody else runs, so two scrapes at once do not mix.
        self.tasks.clear()
        self.agents.clear()
        self.database_up.set(0 if counts is None else 1)
        self.oldest.set(float("nan"))
        if counts is not None:
            by_state, by_tier, oldest = counts
            for trust in (tier.value for tier in Trust):
                for state in STATES:
                    self.tasks.labels(state, trust).set(by_state.get((state, trust), 0))
                for alive in (True, False):
                    self.agents.labels(trust, str(alive).lower()).set(by_tier.get((trust, alive), 0))
            self.oldest.set(oldest)
        total, idle = database.connections()
        self.connections.labels("idle").set(idle)
        self.connections.labels("busy").set(total - idle)
        encode, content_type = choose_encoder(accept or "")
        return encode(self.registry), content_type

    @staticmethod
    async def _ask(
        tasks: Tasks, agents: Agents
    ) -> tuple[dict[tuple[str, str], int], dict[tuple[str, bool], int], float]:
        return await tasks.count(), await agents.count(), await tasks.oldest()
