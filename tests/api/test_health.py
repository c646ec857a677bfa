"""Liveness and readiness."""

from typing import Any

import pytest

from tests.conftest import BUCKET, SECRET_KEY, RunningGateway, StartGateway
from tests.waiting import until, until_ready

NOWHERE = "host=127.0.0.1 port=1 user=nobody"


async def ready(gateway: RunningGateway, *, admin: bool = False) -> tuple[int, object]:
    """Return status and body of ``/readyz``, which must not be cached."""
    answer = await gateway.get("/readyz", admin=admin)
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status, answer.json()


async def test_a_gateway_with_all_its_dependencies_is_ready_on_both_ports_and_alive_while_it_drains(
    gateway: RunningGateway,
) -> None:
    checks = {"redis": "ok", "postgres": "ok", "cos": "ok", "changes": "ok"}
    await until_ready(gateway.ports.public)
    assert await ready(gateway) == (200, {"status": "ready", "checks": checks})
    assert await ready(gateway, admin=True) == (
        200,
        {"status": "ready", "checks": checks, "reasons": {}, "findings": []},
    )
    gateway.drain()
    assert await ready(gateway) == (503, {"status": "not_ready", "checks": checks})
    for admin in (False, True):
        alive = await gateway.get("/healthz", admin=admin)
        assert (alive.status, alive.json()) == (200, {"status": "alive"})


@pytest.mark.parametrize(
    ("changes", "status", "said", "down"),
    [
        ({"redis": {"url": "redis://127.0.0.1:1"}}, 200, "degraded", {"redis"}),
        ({"postgres": {"dsn": NOWHERE}}, 200, "degraded", {"postgres"}),
        ({"cos": {"domain": "127.0.0.1:1"}}, 200, "degraded", {"cos"}),
        (
            {"redis": {"url": "redis://127.0.0.1:1"}, "postgres": {"dsn": NOWHERE}},
            503,
            "not_ready",
            {"redis", "postgres"},
        ),
    ],
)
async def test_readyz_names_what_is_down_and_is_503_only_without_both_stores(
    start_gateway: StartGateway, changes: dict[str, dict[str, str]], status: int, said: str, down: set[str]
) -> None:
    gateway = await start_gateway(**changes)
    checks = {name: "down" if name in down else "ok" for name in ("redis", "postgres", "cos", "changes")}

    async def is_told() -> bool:
        return await ready(gateway) == (status, {"status": said, "checks": checks})

    await until(is_told, what="which are down")
    assert (await gateway.get("/healthz")).status == 200
    told: Any = (await ready(gateway, admin=True))[1]
    assert (told["status"], told["checks"], set(told["reasons"])) == (said, checks, down)
    assert all("connect" in reason.lower() for reason in told["reasons"].values())
    for name, state in checks.items():
        assert gateway.sample("dependency_up", dependency=name) == (state == "ok")


async def test_a_gateway_whose_key_cos_refuses_is_not_ready_until_a_signature_is_accepted(
    start_gateway: StartGateway,
) -> None:
    """An object of no row is asked for: the table and the bucket are empty."""
    gateway = await start_gateway(cos={"secret_key": "another"})
    checks = {"redis": "ok", "postgres": "ok", "cos": "degraded", "changes": "ok"}

    async def is_told() -> bool:
        return await ready(gateway) == (503, {"status": "not_ready", "checks": checks})

    await until(is_told, what="that COS alone is not well")
    status, body = await ready(gateway, admin=True)
    assert isinstance(body, dict)
    assert (status, list(body["reasons"])) == (503, ["cos"])
    assert body["reasons"]["cos"].startswith(f"bucket {BUCKET}: COS answered 403 SignatureDoesNotMatch")
    assert gateway.sample("dependency_up", dependency="cos") == 0

    for key, expected in ((SECRET_KEY, "ready"), ("another", "degraded")):
        await gateway.reload(cos={"secret_key": key})
        await _until_said(gateway, expected)


async def _until_said(gateway: RunningGateway, expected: str) -> None:
    async def is_said() -> bool:
        return bool((await gateway.get("/readyz")).json()["status"] == expected)

    await until(is_said, what=f"{expected} in /readyz")
