"""Lists containers over Docker's Unix socket, and asks it for nothing else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

_SECONDS = 5.0
_LARGEST = 16 * 1024 * 1024


class NoDocker(Exception):
    """There is no socket, or nobody behind it: the feature is off."""


class DockerError(Exception):
    """Docker answered something else than a list of containers."""


async def containers(socket: str) -> list[dict[str, Any]]:
    """The running containers. Of what Docker says only names, image, state and times: labels, commands and mounts may hold
    what is nobody's business."""
    try:
        body = await asyncio.wait_for(_get(socket, "/containers/json"), timeout=_SECONDS)
    except asyncio.TimeoutError as error:
        raise DockerError("no answer in time") from error
    try:
        found = json.loads(body)
        return [
            {
                "id": container["Id"][:12],
                "names": [name.lstrip("/") for name in container["Names"]],
                "image": container["Image"],
                "state": container["State"],
                "status": container["Status"],
                "created": container["Created"],
            }
            for container in found
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DockerError("the answer is no list of containers") from error


async def _get(socket: str, path: str) -> bytes:
    try:
        reader, writer = await asyncio.open_unix_connection(socket, limit=_LARGEST)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoDocker(socket) from error
    except OSError as error:
        raise DockerError(f"{error.__class__.__name__}") from error
    try:
        # HTTP/1.0: the answer ends with the connection, and is not in chunks.
        writer.write(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0].split(b" ")
        if len(status) < 2 or status[1] != b"200":
            raise DockerError(f"status {status[1].decode('ascii', 'replace') if len(status) > 1 else '?'}")
        body = await reader.read(_LARGEST + 1)
        while chunk := await reader.read(_LARGEST + 1 - len(body)) if len(body) <= _LARGEST else b"":
            body += chunk
        if len(body) > _LARGEST:
            raise DockerError("the answer is too long")
        return body
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise DockerError(error.__class__.__name__) from error
    finally:
        writer.close()
