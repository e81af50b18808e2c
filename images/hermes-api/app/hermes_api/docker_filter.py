"""Stands before Docker's socket: a socket on which `GET /containers/json` is all there is.

Whoever reaches Docker's own socket has the host; a read-only mount of it changes nothing about that. So the API does not get it:
this small program does, in a container without a network, and the API gets this one's socket.

`--check` asks whether it answers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys

from . import docker, log

_LONGEST_HEAD = 8192
_SECONDS = 5.0

logger = logging.getLogger("hermes.docker_filter")


def _answer(status: str, body: object) -> bytes:
    data = json.dumps(body).encode()
    head = f"HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def _respond(head: bytes, source: str) -> bytes:
    request = head.split(b"\r\n", 1)[0].split(b" ")
    if request[:2] != [b"GET", b"/containers/json"]:
        return _answer("403 Forbidden", {"message": "only GET /containers/json"})
    try:
        found = await docker.containers(source)
    except (docker.NoDocker, docker.DockerError) as error:
        return _answer("502 Bad Gateway", {"message": str(error)})
    # In the form in which Docker says it.
    return _answer(
        "200 OK",
        [
            {
                "Id": container["id"],
                "Names": container["names"],
                "Image": container["image"],
                "State": container["state"],
                "Status": container["status"],
                "Created": container["created"],
            }
            for container in found
        ],
    )


async def serve(path: str, source: str, stop: asyncio.Event) -> None:
    """Until told to stop. What a killed predecessor left at the path is replaced."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), timeout=_SECONDS)
            writer.write(await _respond(head, source))
            await asyncio.wait_for(writer.drain(), timeout=_SECONDS)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    if os.path.lexists(path):
        os.unlink(path)
    # The group may connect, which means write; others may not.
    before = os.umask(0o117)
    try:
        server = await asyncio.start_unix_server(handle, path, limit=_LONGEST_HEAD)
    finally:
        os.umask(before)
    async with server:
        logger.info("listening", extra={"socket": path})
        await stop.wait()
    os.unlink(path)


async def _main(path: str, source: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(path, source, stop)


def main() -> int:
    path = os.environ.get("HERMES_FILTERED_SOCKET", "/run/hermes-docker/docker.sock")
    if sys.argv[1:] == ["--check"]:
        try:
            asyncio.run(docker.containers(path))
        except (docker.NoDocker, docker.DockerError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    log.configure("info")
    asyncio.run(_main(path, os.environ.get("HERMES_DOCKER_SOCKET", "/var/run/docker.sock")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
