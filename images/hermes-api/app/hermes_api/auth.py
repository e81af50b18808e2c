"""Who asks: the operator, with the token of the settings, or an agent, with its own.

An agent's tier hangs on its token, so an untrusted node cannot say that it is internal.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Optional

from fastapi import Depends, HTTPException, Request

from .agents import Agent

REALM = {"WWW-Authenticate": 'Bearer realm="hermes"'}


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise HTTPException(401, "a bearer token is needed", REALM)
    return token.strip()


async def caller(request: Request) -> Optional[Agent]:
    """The agent; nothing for the operator. Refuses everybody else."""
    token = _token(request)
    # Digests have one length, so the comparison takes the same time whatever was sent.
    if hmac.compare_digest(sha256(token.encode()).digest(), request.app.state.settings.token_digest):
        return None
    agent = await request.app.state.agents.by_token(token)
    if agent is None:
        raise HTTPException(401, "this token is not known", REALM)
    return agent


async def operator(who: Optional[Agent] = Depends(caller)) -> None:
    if who is not None:
        raise HTTPException(403, "agents may not do this")


async def agent(who: Optional[Agent] = Depends(caller)) -> Agent:
    if who is None:
        raise HTTPException(403, "only an agent, with its own token, may do this")
    return who
