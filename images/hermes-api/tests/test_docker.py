"""The list of containers: from a socket that answers as Docker does, and through the filter before it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Hermes, bearer
from hermes_api import docker, docker_filter
from hermes_api.application import create
from starlette.testclient import TestClient

CONTAINER = {
    "Id": "0123456789abcdef0123456789abcdef",
    "Names": ["/forge-postgres-1"],
    "Image": "forge.invalid/postgres:1",
    "State": "running",
    "Status": "Up 2 hours (healthy)",
    "Created": 1700000000,
    "Command": "postgres -c password=secret",
    "Labels": {"secret": "label"},
    "Mounts": [{"Source": "/secret"}],
}
SHOWN = {
    "id": "0123456789ab",
    "names": ["forge-postgres-1"],
    "image": "forge.invalid/postgres:1",
    "state": "running",
    "status": "Up 2 hours (healthy)",
    "created": 1700000000,
}


@asynccontextmanager
async def fake(path: Path, answer: bytes):
    """Says the same to everybody; what it was asked is yielded."""
    asked: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(handle, str(path))
    async with server:
        yield asked


def ok(body: object) -> bytes:
    return b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(body).encode()


def test_it_asks_for_the_list_alone_and_shows_little(tmp_path: Path) -> None:
    async def run() -> None:
        async with fake(tmp_path / "s", ok([CONTAINER])) as asked:
            assert await docker.containers(str(tmp_path / "s")) == [SHOWN]
        assert [head.split(b"\r\n")[0] for head in asked] == [b"GET /containers/json HTTP/1.0"]

    asyncio.run(run())


def test_a_long_list_comes_in_many_pieces(tmp_path: Path) -> None:
    async def run() -> None:
        async with fake(tmp_path / "s", ok([CONTAINER] * 5000)):
            assert len(await docker.containers(str(tmp_path / "s"))) == 5000

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.0 500 no\r\n\r\n[]",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n[{}]",
        b'HTTP/1.0 200 OK\r\n\r\n{"message": "x"}',
        b"HTTP/1.0 200 OK\r\n\r\n[\xff]",
        b"HTTP/1.0 200 OK\r\n\r\n[" + b" " * 17 * 1024 * 1024 + b"]",
    ],
    ids=["nothing", "nonsense", "status", "empty", "items", "object", "bytes", "endless"],
)
def test_what_is_no_list_is_an_error(tmp_path: Path, answer: bytes) -> None:
    async def run() -> None:
        async with fake(tmp_path / "s", answer):
            with pytest.raises(docker.DockerError):
                await docker.containers(str(tmp_path / "s"))

    asyncio.run(run())


def test_without_a_socket_it_is_off(tmp_path: Path, client: Hermes) -> None:
    with pytest.raises(docker.NoDocker):
        asyncio.run(docker.containers(str(tmp_path / "absent")))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    with pytest.raises(docker.NoDocker):
        asyncio.run(docker.containers(str(tmp_path / "left")))
    response = client.operator("GET", "/v1/containers")
    assert (response.status_code, response.json()) == (404, {"detail": "there is no Docker socket here"})


def test_only_operator_and_internal_agents_see_containers_through_the_filter(settings, tmp_path: Path) -> None:
    stop = threading.Event()
    ready = threading.Event()
    path = tmp_path / "filtered"
    path.touch()  # what a predecessor left behind

    async def both() -> None:
        over = asyncio.Event()
        async with fake(tmp_path / "docker", ok([CONTAINER])):
            filtering = asyncio.create_task(docker_filter.serve(str(path), str(tmp_path / "docker"), over))
            while not path.is_socket():
                await asyncio.sleep(0.01)
            ready.set()
            await asyncio.get_running_loop().run_in_executor(None, stop.wait)
            over.set()
            await filtering

    thread = threading.Thread(target=asyncio.run, args=[both()])
    thread.start()
    try:
        assert ready.wait(10)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        with TestClient(create(replace(settings, docker_socket=str(path)))) as http:
            client = Hermes(http)
            assert client.operator("GET", "/v1/containers").json() == {"containers": [SHOWN]}
            for trust, status in [("internal", 200), ("trusted", 403), ("untrusted", 403)]:
                token = client.register(trust, trust)
                assert http.get("/v1/containers", headers=bearer(token)).status_code == status, trust
        for request in [
            b"POST /containers/create HTTP/1.0\r\n\r\n",
            b"GET /containers/json?all=1 HTTP/1.0\r\n\r\n",
            b"GET /info HTTP/1.0\r\n\r\n",
            b"GET /v1.41/containers/json HTTP/1.0\r\n\r\n",
            b"GET  /containers/json HTTP/1.0\r\n\r\n",
            b"HEAD /containers/json HTTP/1.0\r\n\r\n",
        ]:
            assert b" 403 " in raw(path, request), request
        assert b"secret" not in raw(path, b"GET /containers/json HTTP/1.0\r\n\r\n")
        assert raw(path, b"x" * 20000) == b"", "a head without end"
    finally:
        stop.set()
        thread.join(10)
    assert not path.exists()


def raw(path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        data = b""
        try:
            client.sendall(request)
            while chunk := client.recv(65536):
                data += chunk
        except (BrokenPipeError, ConnectionResetError):
            pass
        return data
