"""Through HTTP: tokens, tiers, the life of a task, and what is refused."""

from __future__ import annotations

import asyncio
import json
import time

import asyncpg
import pytest
from conftest import TOKEN, Hermes, bearer

TIERS = ["untrusted", "trusted", "internal"]


def test_only_health_and_metrics_need_no_token(client: Hermes) -> None:
    assert client.http.get("/health").json() == {"status": "ok", "database": "ok"}
    assert client.http.get("/metrics").status_code == 200
    for method, path in [
        ("GET", "/v1/agents"),
        ("POST", "/v1/agents"),
        ("GET", "/v1/agents/a"),
        ("DELETE", "/v1/agents/a"),
        ("POST", "/v1/agents/a/token"),
        ("GET", "/v1/tasks"),
        ("POST", "/v1/tasks"),
        ("GET", "/v1/tasks/1"),
        ("DELETE", "/v1/tasks/1"),
        ("GET", "/v1/containers"),
        ("POST", "/v1/agent/heartbeat"),
        ("POST", "/v1/agent/claim"),
        ("POST", "/v1/agent/tasks/1/renew"),
        ("POST", "/v1/agent/tasks/1/complete"),
        ("POST", "/v1/agent/tasks/1/fail"),
    ]:
        for headers in [
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": f"Basic {TOKEN}"},
            bearer(TOKEN + "x"),
            bearer(TOKEN[:-1]),
            bearer("hermes_agent_guessed"),
            {"Authorization": "Bearer \u00ff\u00fe".encode("latin-1")},
        ]:
            response = client.http.request(method, path, headers=headers)
            assert response.status_code == 401, (method, path, headers, response.text)
            assert response.headers["www-authenticate"].startswith("Bearer")


def test_every_route_is_behind_a_token_but_two(client: Hermes) -> None:
    # A route that is added later is asked too.
    for route in client.http.app.routes:
        path = route.path.replace("{name}", "a").replace("{task}", "1")
        for method in route.methods:
            status = client.http.request(method, path).status_code
            assert (status == 401) == (path not in ("/health", "/metrics")), (method, path, status)


def test_an_agent_is_no_operator_and_the_operator_no_agent(client: Hermes) -> None:
    token = client.register("a", "internal")
    for method, path in [("GET", "/v1/agents"), ("GET", "/v1/tasks"), ("POST", "/v1/tasks"), ("DELETE", "/v1/agents/a")]:
        assert client.http.request(method, path, headers=bearer(token)).status_code == 403, path
    assert client.operator("POST", "/v1/agent/claim", json={}).status_code == 403


def test_the_registry(client: Hermes) -> None:
    token = client.register("worker-1", "trusted")
    assert token.startswith("hermes_agent_")
    again = client.operator("POST", "/v1/agents", json={"name": "worker-1", "trust": "internal"})
    assert again.status_code == 409
    shown = client.operator("GET", "/v1/agents/worker-1").json()
    assert (shown["trust"], shown["seen_at"]) == ("trusted", None)
    assert "token" not in shown and "token_digest" not in shown
    assert client.agent(token, "heartbeat").json() == {"name": "worker-1", "trust": "trusted"}
    assert client.operator("GET", "/v1/agents").json()["agents"][0]["seen_at"] is not None

    new = client.operator("POST", "/v1/agents/worker-1/token").json()["token"]
    assert client.agent(token, "heartbeat").status_code == 401, "the old token is void"
    assert client.agent(new, "heartbeat").status_code == 200
    assert client.operator("DELETE", "/v1/agents/worker-1").status_code == 204
    assert client.agent(new, "heartbeat").status_code == 401
    for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/token")]:
        assert client.operator(method, f"/v1/agents/worker-1{path}").status_code == 404


@pytest.mark.parametrize("tier", TIERS)
def test_a_task_goes_to_agents_of_its_tier_or_a_higher_one(client: Hermes, tier: str) -> None:
    token = client.register("a", tier)
    for needed in TIERS:
        client.enqueue(min_trust=needed)
    got = [task["min_trust"] for task in client.claim(token, count=10)]
    # What fewest may do comes first.
    assert got == [needed for needed in reversed(TIERS) if TIERS.index(needed) <= TIERS.index(tier)]


def test_a_task_from_beginning_to_end(client: Hermes) -> None:
    token = client.register("a", "trusted")
    payload = {"command": ["true"], "umlaut": "ä", "nested": [1, None, {"deep": True}], "large": 2**60}
    task = client.enqueue(payload=payload, priority=5)
    other = client.enqueue(kind="other", priority=9)
    (claimed,) = client.claim(token, kinds=["shell"], lease_seconds=30)
    assert claimed["id"] == task and claimed["payload"] == payload
    assert (claimed["state"], claimed["attempt"], claimed["agent"]) == ("leased", 1, "a")
    assert client.claim(token, kinds=["shell"]) == []
    assert client.agent(token, f"tasks/{task}/renew", attempt=1, lease_seconds=60).status_code == 200
    assert client.operator("DELETE", f"/v1/tasks/{task}").status_code == 409, "somebody works on it"
    done = client.agent(token, f"tasks/{task}/complete", attempt=1, result={"code": 0})
    assert done.json()["state"] == "done"
    assert client.task(task)["result"] == {"code": 0}
    assert client.agent(token, f"tasks/{task}/complete", attempt=1).status_code == 409, "only once"
    assert client.operator("DELETE", f"/v1/tasks/{other}").json()["state"] == "cancelled"
    assert client.claim(token) == []


def test_urgent_ones_first_then_in_order(client: Hermes) -> None:
    token = client.register("a", "internal")
    low, first, second, high = [client.enqueue(priority=priority) for priority in (-1, 0, 0, 1)]
    assert [task["id"] for task in client.claim(token, count=3)] == [high, first, second]
    assert [task["id"] for task in client.claim(token)] == [low]


def test_failures_are_tried_again_until_the_attempts_are_used_up(client: Hermes, settings) -> None:
    token = client.register("a", "trusted")
    task = client.enqueue(max_attempts=2)
    assert client.claim(token)[0]["attempt"] == 1
    failed = client.agent(token, f"tasks/{task}/fail", attempt=1, error="no space").json()
    assert (failed["state"], failed["error"], failed["agent"]) == ("queued", "no space", None)
    assert client.claim(token) == [], "not at once"
    skip_the_wait(settings, task)
    assert client.claim(token)[0]["attempt"] == 2
    failed = client.agent(token, f"tasks/{task}/fail", attempt=2, error="still none").json()
    assert (failed["state"], failed["error"]) == ("failed", "still none")
    assert failed["finished_at"] is not None

    hopeless = client.enqueue(max_attempts=5)
    client.claim(token)
    assert client.agent(token, f"tasks/{hopeless}/fail", attempt=1, error="x", retry=False).json()["state"] == "failed"


def test_a_lease_that_ran_out_is_somebody_elses(client: Hermes) -> None:
    slow, quick = client.register("slow", "trusted"), client.register("quick", "trusted")
    task = client.enqueue(max_attempts=2)
    client.claim(slow, lease_seconds=1)
    time.sleep(1.1)
    late = client.agent(slow, f"tasks/{task}/complete", attempt=1, result="late")
    assert late.status_code == 409
    (claimed,) = client.claim(quick, lease_seconds=1)
    assert (claimed["id"], claimed["attempt"], claimed["error"]) == (task, 2, "the lease ran out")
    assert client.agent(slow, f"tasks/{task}/complete", attempt=1).status_code == 409
    assert client.agent(slow, f"tasks/{task}/complete", attempt=2).status_code == 409, "not its attempt"
    assert client.agent(quick, f"tasks/{task}/complete", attempt=1).status_code == 409, "not this attempt"
    time.sleep(1.1)
    assert client.claim(quick) == [], "no attempt is left"
    assert client.task(task)["state"] == "failed"


def test_what_a_removed_agent_had_is_queued_again(client: Hermes) -> None:
    gone, here = client.register("gone", "trusted"), client.register("here", "trusted")
    task = client.enqueue(max_attempts=1)
    client.claim(gone)
    assert client.operator("DELETE", "/v1/agents/gone").status_code == 204
    (claimed,) = client.claim(here)
    assert (claimed["id"], claimed["attempt"]) == (task, 1)


def test_a_task_waits_for_its_time(client: Hermes) -> None:
    token = client.register("a", "trusted")
    client.enqueue(run_after="2999-01-01T00:00:00Z")
    past = client.enqueue(run_after="2001-01-01T00:00:00+02:00")
    assert [task["id"] for task in client.claim(token, count=5)] == [past]
    response = client.operator("POST", "/v1/tasks", json={"kind": "shell", "run_after": "2999-01-01T00:00:00"})
    assert response.status_code == 422, "no time zone"


def test_lists_come_in_pages(client: Hermes) -> None:
    tasks = [client.enqueue() for _ in range(5)]
    client.operator("DELETE", f"/v1/tasks/{tasks[0]}")

    def listed(**query) -> list[int]:
        return [task["id"] for task in client.operator("GET", "/v1/tasks", params=query).json()["tasks"]]

    assert listed(limit=2) == tasks[:2:-1]
    assert listed(limit=2, before=tasks[3]) == tasks[2:0:-1]
    assert listed(state="cancelled") == [tasks[0]]
    assert listed(kind="other") == []


@pytest.mark.parametrize(
    "path, body",
    [
        ("agents", {"name": "A", "trust": "trusted"}),
        ("agents", {"name": "a\n", "trust": "trusted"}),
        ("agents", {"name": "a", "trust": "root"}),
        ("agents", {"name": "a"}),
        ("agents", {"name": "a", "trust": "trusted", "token": "x"}),
        ("agents", {"name": "a", "trust": "trusted", "labels": {"k": "\u0000"}}),
        ("agents", {"name": "a", "trust": "trusted", "labels": {f"k{n}": "" for n in range(65)}}),
        ("tasks", {}),
        ("tasks", {"kind": "a b"}),
        ("tasks", {"kind": "a", "max_attempts": 0}),
        ("tasks", {"kind": "a", "priority": 100000}),
        ("tasks", {"kind": "a", "min_trust": "none"}),
        ("tasks", {"kind": "a", "payload": "nul \u0000"}),
        ("tasks", {"kind": "a", "payload": {"half": "\ud800"}}),
        ("tasks", {"kind": "a", "run_after": "9999-12-31T23:59:59-14:00"}),
    ],
)
def test_what_is_wrong_is_refused_with_422(client: Hermes, path: str, body: dict) -> None:
    content = json.dumps(body).encode()
    response = client.operator("POST", f"/v1/{path}", content=content)
    assert response.status_code == 422, response.text
    assert client.operator("GET", "/v1/tasks").json() == {"tasks": []}


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"kind": "a", "payload": NaN}', b"[" * 100_000], ids=["half", "bytes", "nan", "deep"])
def test_what_is_no_json_is_refused(client: Hermes, content: bytes) -> None:
    assert client.operator("POST", "/v1/tasks", content=content).status_code in (400, 422)
    assert client.http.get("/health").status_code == 200


def test_numbers_that_no_database_holds_are_refused(client: Hermes) -> None:
    for number in ["0", "-1", str(2**63), "x", "1e3"]:
        assert client.operator("GET", f"/v1/tasks/{number}").status_code == 422, number
    assert client.operator("GET", f"/v1/tasks/{2**63 - 1}").status_code == 404
    token = client.register("a", "trusted")
    assert client.agent(token, "tasks/1/complete", attempt=2**31).status_code == 422
    assert client.agent(token, "tasks/1/complete", attempt=1).status_code == 409
    assert client.agent(token, "tasks/1/fail", attempt=1, error="\u0000").status_code == 422


def test_a_body_has_a_bound(client: Hermes) -> None:
    fits = '{"kind": "a", "payload": "' + "x" * (1024 * 1024 - 28) + '"}'
    assert len(fits) == 1024 * 1024
    assert client.operator("POST", "/v1/tasks", content=fits).status_code == 201
    assert client.operator("POST", "/v1/tasks", content=fits + " ").status_code == 413


def test_metrics_have_the_right_type_and_count(client: Hermes) -> None:
    token = client.register("a", "trusted")
    client.enqueue(min_trust="internal")
    client.agent(token, f"tasks/{client.enqueue()}/fail", attempt=1, error="not mine")
    client.claim(token)
    client.http.get("/no/such/path/1")
    client.http.get("/no/such/path/2")
    response = client.http.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = response.text.splitlines()
    for line in [
        'hermes_tasks{min_trust="internal",state="queued"} 1.0',
        'hermes_tasks{min_trust="trusted",state="leased"} 1.0',
        'hermes_agents{alive="true",trust="trusted"} 1.0',
        'hermes_tasks_claimed_total{trust="trusted"} 1.0',
        "hermes_database_up 1.0",
        'hermes_http_requests_total{method="POST",route="/v1/agent/claim",status="200"} 1.0',
        'hermes_http_requests_total{method="any",route="none",status="404"} 2.0',
        'hermes_http_requests_total{method="POST",route="/v1/agent/tasks/{task}/fail",status="409"} 1.0',
    ]:
        assert line in lines, f"{line} is not in\n{response.text}"
    assert "/no/such" not in response.text
    wanted = "application/openmetrics-text; version=0.0.1; charset=utf-8"
    response = client.http.get("/metrics", headers={"Accept": wanted})
    assert response.headers["content-type"] == wanted
    assert response.text.endswith("# EOF\n")


def skip_the_wait(settings, task: int) -> None:
    async def update() -> None:
        connection = await asyncpg.connect(
            host=settings.database_host,
            port=settings.database_port,
            user=settings.database_user,
            password=settings.database_password,
            database=settings.database_name,
            ssl=False,
        )
        waits = await connection.fetchval(
            "UPDATE tasks SET run_after = now() WHERE id = $1 AND run_after > now() + interval '5 seconds' RETURNING id", task
        )
        await connection.close()
        assert waits == task, "it was to wait some seconds"

    asyncio.run(update())
