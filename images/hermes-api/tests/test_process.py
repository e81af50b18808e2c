"""The program itself, as the image starts it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from conftest import TOKEN, bearer

APP = Path(__file__).parent.parent / "app"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def program(env: dict[str, str], *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "hermes_api", *arguments],
        cwd=APP,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def running(env: dict[str, str]):
    env = {**env, "HERMES_HOST": "127.0.0.1", "HERMES_PORT": str(free_port())}
    process = program(env)
    try:
        deadline = time.monotonic() + 30
        while program(env, "--check").wait(10) != 0:
            assert process.poll() is None and time.monotonic() < deadline, process.communicate(timeout=5)
        yield process, int(env["HERMES_PORT"]), env
    finally:
        process.kill()
        process.wait(10)


def request(port: int, method: str, path: str, body: object = None, token: str = TOKEN):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, None if body is None else json.dumps(body), bearer(token))
    response = connection.getresponse()
    return response.status, json.loads(response.read() or "null")


def test_it_serves_logs_and_stops_when_asked(env: dict[str, str]) -> None:
    with running(env) as (process, port, _):
        status, agent = request(port, "POST", "/v1/agents", {"name": "a", "trust": "internal"})
        assert status == 201
        assert request(port, "POST", "/v1/tasks", {"kind": "shell"})[0] == 201
        assert request(port, "POST", "/v1/agent/claim", {}, agent["token"])[1]["tasks"][0]["kind"] == "shell"
        assert request(port, "GET", "/v1/agents", token="wrong")[0] == 401
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 0, output
    lines = [json.loads(line) for line in output.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    messages = [line["message"] for line in lines]
    assert "migration applied" in messages and "ready" in messages and messages[-1].startswith("Finished")
    assert "stopped" in messages
    requests = [(line["method"], line["path"], line["status"]) for line in lines if line["message"] == "request"]
    assert requests.count(("POST", "/v1/agents", 201)) == 1
    assert not any(path == "/health" for _, path, _ in requests), "quiet while all is well"
    for secret in [TOKEN, agent["token"], Path(env["DATABASE_PASSWORD_FILE"]).read_text()]:
        assert secret not in output


def test_what_was_asked_before_it_stops_is_answered(env: dict[str, str]) -> None:
    with running(env) as (process, port, _):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
            body = json.dumps({"kind": "shell"}).encode()
            slow.sendall(
                f"POST /v1/tasks HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:5]
            )
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            rest = threading.Timer(0.7, slow.sendall, [body[5:]])
            rest.start()
            answer = slow.recv(65536)
            rest.join()
        assert answer.startswith(b"HTTP/1.1 201"), answer
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 0, output


def test_wrong_settings_end_it_with_all_reasons(env: dict[str, str]) -> None:
    process = program({**env, "HERMES_PORT": "0", "HERMES_TOKEN_FILE": "/absent"})
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 2
    problems = [json.loads(line)["problem"] for line in output.splitlines()]
    assert len(problems) == 2 and problems[0].startswith("HERMES_TOKEN_FILE"), problems


def test_without_a_database_it_gives_up_in_the_end(env: dict[str, str]) -> None:
    process = program({**env, "DATABASE_PORT": str(free_port()), "DATABASE_WAIT_SECONDS": "1", "HERMES_PORT": str(free_port())})
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1, output
    assert "the database is not there yet" in output


def test_the_check_fails_where_nobody_listens(env: dict[str, str]) -> None:
    process = program({"HERMES_PORT": str(free_port())}, "--check")
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, "ConnectionRefusedError" in output) == (1, True)
