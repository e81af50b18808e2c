"""What answers under which path."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Optional

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Extra, conint, conlist, constr, validator

from . import auth, docker
from .agents import Agent, NameTaken
from .tasks import NewTask
from .trust import Trust

_HEALTH_SECONDS = 2.0

Name = constr(regex=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
Kind = constr(regex=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?\Z")
LabelKey = constr(regex=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?\Z")
LabelValue = constr(regex=r"^[^\x00-\x1f\x7f]{0,256}\Z")
LeaseSeconds = conint(ge=1, le=86400)
Id = Path(..., ge=1, lt=2**63)


class Body(BaseModel):
    class Config:
        # A misspelt field is a mistake, not a wish to have the default.
        extra = Extra.forbid


class Registration(Body):
    name: Name
    trust: Trust
    labels: dict[LabelKey, LabelValue] = {}

    @validator("labels")
    def few(cls, labels: dict[str, str]) -> dict[str, str]:
        if len(labels) > 64:
            raise ValueError("at most 64 labels")
        return labels


class Enqueue(Body):
    kind: Kind
    payload: Any = None
    min_trust: Trust = Trust.TRUSTED
    priority: conint(ge=-1000, le=1000) = 0
    max_attempts: conint(ge=1, le=100) = 3
    run_after: Optional[datetime] = None


class Claim(Body):
    kinds: Optional[conlist(Kind, min_items=1, max_items=64)] = None
    count: conint(ge=1, le=100) = 1
    lease_seconds: Optional[LeaseSeconds] = None


class Lease(Body):
    attempt: conint(ge=1, lt=2**31)


class Renewal(Lease):
    lease_seconds: Optional[LeaseSeconds] = None


class Completion(Lease):
    result: Any = None


class Failure(Lease):
    error: constr(min_length=1, max_length=4096)
    retry: bool = True


public = APIRouter()
operator = APIRouter(prefix="/v1", dependencies=[Depends(auth.operator)])
agent = APIRouter(prefix="/v1/agent")
both = APIRouter(prefix="/v1")

# ── Without a token ─────────────────────────────────────────────────────────────────────────────────────────────────────


@public.get("/health")
async def health(request: Request) -> Response:
    wrong = await request.app.state.database.ping(_HEALTH_SECONDS)
    if wrong is not None:
        # The reason is for the log: whoever asks here has shown no token.
        request.app.state.log.warning("not healthy", extra={"error": wrong})
        return JSONResponse({"status": "failing", "database": "unreachable"}, status_code=503)
    return JSONResponse({"status": "ok", "database": "ok"})


@public.get("/metrics")
async def metrics(request: Request) -> Response:
    state = request.app.state
    text, content_type = await state.metrics.render(
        state.database, state.tasks, state.agents, request.headers.get("accept")
    )
    # Not `media_type`, to which the framework would add a second charset.
    return Response(text, headers={"Content-Type": content_type})


# ── The operator ────────────────────────────────────────────────────────────────────────────────────────────────────────


@operator.post("/agents")
async def register(body: Registration, request: Request) -> Response:
    try:
        agent, token = await request.app.state.agents.register(body.name, body.trust, body.labels)
    except NameTaken as error:
        raise HTTPException(409, f"there is an agent {body.name} already") from error
    return JSONResponse({**agent, "token": token}, status_code=201)


@operator.get("/agents")
async def list_agents(request: Request) -> Response:
    return JSONResponse({"agents": await request.app.state.agents.list()})


@operator.get("/agents/{name}")
async def get_agent(name: Name, request: Request) -> Response:
    return JSONResponse(_found(await request.app.state.agents.get(name), "agent"))


@operator.post("/agents/{name}/token")
async def rotate(name: Name, request: Request) -> Response:
    return JSONResponse({"token": _found(await request.app.state.agents.rotate(name), "agent")})


@operator.delete("/agents/{name}")
async def remove(name: Name, request: Request) -> Response:
    _found(await request.app.state.agents.remove(name) or None, "agent")
    return Response(status_code=204)


@operator.post("/tasks")
async def enqueue(body: Enqueue, request: Request) -> Response:
    if body.run_after is not None and body.run_after.tzinfo is None:
        raise HTTPException(422, "run_after needs a time zone")
    task = await request.app.state.tasks.enqueue(NewTask(**dict(body)))
    return JSONResponse(task, status_code=201, headers={"Location": f"/v1/tasks/{task['id']}"})


@operator.get("/tasks")
async def list_tasks(
    request: Request,
    state: Optional[str] = Query(None, regex="^(queued|leased|done|failed|cancelled)$"),
    kind: Optional[Kind] = None,
    before: Optional[int] = Query(None, ge=1, lt=2**63),
    limit: int = Query(50, ge=1, le=500),
) -> Response:
    return JSONResponse({"tasks": await request.app.state.tasks.list(state, kind, before, limit)})


@operator.get("/tasks/{task}")
async def get_task(request: Request, task: int = Id) -> Response:
    return JSONResponse(_found(await request.app.state.tasks.get(task), "task"))


@operator.delete("/tasks/{task}")
async def cancel(request: Request, task: int = Id) -> Response:
    tasks = request.app.state.tasks
    cancelled = await tasks.cancel(task)
    if cancelled is None:
        _found(await tasks.get(task), "task")
        raise HTTPException(409, "only a task in the queue can be cancelled")
    return JSONResponse(cancelled)


# ── Agents ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@agent.post("/heartbeat")
async def heartbeat(request: Request, who: Agent = Depends(auth.agent)) -> Response:
    await request.app.state.agents.heartbeat(who)
    return JSONResponse({"name": who.name, "trust": who.trust.value})


@agent.post("/claim")
async def claim(body: Claim, request: Request, who: Agent = Depends(auth.agent)) -> Response:
    state = request.app.state
    seconds = body.lease_seconds or state.settings.lease
    tasks = await state.tasks.claim(who.id, body.kinds, body.count, float(seconds))
    state.metrics.claimed.labels(who.trust.value).inc(len(tasks))
    return JSONResponse({"tasks": tasks})


@agent.post("/tasks/{task}/renew")
async def renew(body: Renewal, request: Request, task: int = Id, who: Agent = Depends(auth.agent)) -> Response:
    seconds = body.lease_seconds or request.app.state.settings.lease
    return JSONResponse(_leased(await request.app.state.tasks.renew(task, who.id, body.attempt, float(seconds))))


@agent.post("/tasks/{task}/complete")
async def complete(body: Completion, request: Request, task: int = Id, who: Agent = Depends(auth.agent)) -> Response:
    done = _leased(await request.app.state.tasks.complete(task, who.id, body.attempt, body.result))
    request.app.state.metrics.ended.labels("done").inc()
    return JSONResponse(done)


@agent.post("/tasks/{task}/fail")
async def fail(body: Failure, request: Request, task: int = Id, who: Agent = Depends(auth.agent)) -> Response:
    failed = _leased(await request.app.state.tasks.fail(task, who.id, body.attempt, body.error, body.retry))
    request.app.state.metrics.ended.labels("failed").inc()
    return JSONResponse(failed)


# ── The operator, and agents of the tier internal ───────────────────────────────────────────────────────────────────────


@both.get("/containers")
async def containers(request: Request, who: Optional[Agent] = Depends(auth.caller)) -> Response:
    if who is not None and who.trust is not Trust.INTERNAL:
        raise HTTPException(403, "only agents of the tier internal may do this")
    try:
        return JSONResponse({"containers": await docker.containers(request.app.state.settings.docker_socket)})
    except docker.NoDocker as error:
        raise HTTPException(404, "there is no Docker socket here") from error
    except docker.DockerError as error:
        raise HTTPException(502, f"Docker: {error}") from error


def _found(value: Any, what: str) -> Any:
    if value is None:
        raise HTTPException(404, f"there is no such {what}")
    return value


def _leased(task: Optional[dict[str, Any]]) -> dict[str, Any]:
    """A lease that is not this agent's is told in one way, whatever is the matter with the task: it is none of its business."""
    if task is None:
        raise HTTPException(409, "this agent does not have this lease")
    return task
