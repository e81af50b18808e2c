"""The application: its parts put together, and what it does by itself."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import AsyncIterator

import asyncpg
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from . import __version__, api
from .agents import Agents
from .database import UNAVAILABLE, Database
from .metrics import Metrics
from .middleware import Around
from .settings import Settings
from .tasks import Tasks

# Leases are also looked at before every claim; this is for when nobody claims.
_HOUSEKEEPING_SECONDS = 15.0

log = logging.getLogger("hermes")


def create(settings: Settings) -> FastAPI:
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = await Database.open(settings)
        app.state.database = database
        app.state.agents = Agents(database)
        app.state.tasks = Tasks(database, metrics.ended.labels("expired").inc)
        keeper = asyncio.create_task(_keep_house(app.state.tasks))
        log.info("ready", extra={"version": __version__})
        try:
            yield
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            await database.close()
            log.info("stopped")

    # No page of documentation: it would load scripts from elsewhere.
    app = FastAPI(title="hermes-api", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    app.router.lifespan_context = lifespan
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.log = log
    for router in (api.public, api.operator, api.agent, api.both):
        app.include_router(router)
    app.add_middleware(Around, metrics=metrics)
    for kind in UNAVAILABLE:
        app.add_exception_handler(kind, _unavailable)
    # A value that JSON can hold and PostgreSQL cannot: a NUL character in a text, half of a surrogate pair, not a number.
    for kind in (asyncpg.DataError, UnicodeEncodeError):
        app.add_exception_handler(kind, _unfit)
    return app


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    log.warning("the database is not available", extra={"error": f"{error.__class__.__name__}: {error}"})
    return JSONResponse({"detail": "the database is not available"}, status_code=503, headers={"Retry-After": "5"})


async def _unfit(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": "a value cannot be stored"}, status_code=422)


async def _keep_house(tasks: Tasks) -> None:
    while True:
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)
        try:
            expired = await tasks.expire()
            forgotten = await tasks.forget()
        except UNAVAILABLE as error:
            log.warning("housekeeping failed", extra={"error": f"{error.__class__.__name__}: {error}"})
            continue
        except Exception:
            # Once and for all would mean that no lease ever ran out again.
            log.exception("housekeeping failed")
            continue
        if expired or forgotten:
            log.info("housekeeping", extra={"expired": expired, "forgotten": forgotten})
