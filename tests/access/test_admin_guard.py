"""Changes on the admin port need the token, which cannot be guessed; a port that is open to others is logged."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web

from gateway.access.admin_guard import BURST, AdminGuard
from gateway.access.client_address import ClientAddress
from gateway.api.authentication import AdminOnly
from gateway.api.json_responses import success
from gateway.errors import TooManyRequests, Unauthorized
from gateway.net.ip_address import is_loopback
from gateway.service.metrics import Metrics
from gateway.settings import AdminSettings, Live, ServerSettings
from tests.conftest import ADMIN_TOKEN, StartGateway, token_for
from tests.serving import dispatched, serving

EVERYWHERE = "0.0.0.0"  # noqa: S104 - a possible configuration
Change = Callable[[list[tuple[str, str]]], Awaitable[tuple[int, dict[str, str]]]]


@pytest.fixture
async def start() -> AsyncIterator[Callable[[str | None], Awaitable[Change]]]:
    """Starts a port with one guarded call, under the given token; gives what sends it."""
    async with AsyncExitStack() as stack:

        async def started(token: str | None) -> Change:
            metrics = Metrics()
            app = web.Application()
            guard = AdminGuard(Live(AdminSettings.model_validate({"token": token})), metrics.access.admin_attempts)
            admin_only = AdminOnly(
                guard, ClientAddress(Live(ServerSettings.model_validate({"trusted_proxies": ["127.0.0.0/8"]})))
            )
            app.router.add_post("/change", admin_only(_changed), name="change")
            address = await stack.enter_async_context(serving(app, dispatched(metrics)))
            session = await stack.enter_async_context(aiohttp.ClientSession())

            async def send(headers: list[tuple[str, str]]) -> tuple[int, dict[str, str]]:
                async with session.post(f"{address}/change", headers=headers) as answer:
                    return answer.status, dict(answer.headers)

            return send

        yield started


async def _changed(request: web.Request) -> web.StreamResponse:
    del request
    return success({})


async def test_the_admin_token_allows_a_change(start: Callable[[str | None], Awaitable[Change]]) -> None:
    send = await start(ADMIN_TOKEN)
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (await send([("Authorization", f"{scheme} {ADMIN_TOKEN}")]))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", ADMIN_TOKEN)],
        [("Authorization", f"Basic {ADMIN_TOKEN}")],
        [("Authorization", f"Bearer {ADMIN_TOKEN}x")],
        [("Authorization", f"Bearer {ADMIN_TOKEN[:-1]}")],
        [("Authorization", f"Bearer {ADMIN_TOKEN.upper()}")],
        [("Authorization", "Bearer \xff")],
        [("Authorization", f"Bearer {token_for('alice')}")],
        [("Authorization", f"Bearer {ADMIN_TOKEN}"), ("Authorization", "Bearer x")],
        [("Cookie", f"token={ADMIN_TOKEN}"), ("X-Admin-Token", ADMIN_TOKEN)],
    ],
)
async def test_anything_else_does_not(
    start: Callable[[str | None], Awaitable[Change]], headers: list[tuple[str, str]]
) -> None:
    status, answered = await (await start(ADMIN_TOKEN))(headers)
    assert status == 401
    assert answered["WWW-Authenticate"].startswith("Bearer")


async def test_without_a_configured_token_every_change_is_forbidden(
    start: Callable[[str | None], Awaitable[Change]],
) -> None:
    send = await start(None)
    for headers in ([], [("Authorization", "Bearer ")], [("Authorization", "Bearer None")]):
        assert (await send(headers))[0] == 403


async def test_an_address_cannot_guess_the_token(start: Callable[[str | None], Awaitable[Change]]) -> None:
    """After ten wrong tokens it has to wait, also with the right one: an answer would tell which one that is."""
    send = await start(ADMIN_TOKEN)
    guesser, other = ("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-For", "192.0.2.2")
    for number in range(BURST):
        assert (await send([("Authorization", f"Bearer {number}"), guesser]))[0] == 401
    for token in ("wrong", ADMIN_TOKEN):
        status, answered = await send([("Authorization", f"Bearer {token}"), guesser])
        assert (status, answered["Retry-After"]) == (429, "10")
    assert (await send([("Authorization", f"Bearer {ADMIN_TOKEN}"), other]))[0] == 200
    assert (await send([guesser]))[0] == 401, "a request without a token is no guess"


def test_attempts_are_counted_from_the_start_and_limited_until_time_has_passed() -> None:
    metrics, clock = Metrics(), [0.0]
    guard = AdminGuard(
        Live(AdminSettings.model_validate({"token": ADMIN_TOKEN})), metrics.access.admin_attempts, now=lambda: clock[0]
    )
    right, wrong = ({"Authorization": f"Bearer {token}"} for token in (ADMIN_TOKEN, "wrong"))

    def attempts() -> list[float | None]:
        name = "image_gateway_admin_attempts_total"
        return [
            metrics.registry.get_sample_value(name, {"result": result}) for result in ("accepted", "refused", "limited")
        ]

    assert attempts() == [0, 0, 0]
    for _ in range(100):
        guard.check(right, "192.0.2.1")
    for _ in range(BURST):
        with pytest.raises(Unauthorized):
            guard.check(wrong, "192.0.2.1")
    with pytest.raises(TooManyRequests):
        guard.check(right, "192.0.2.1")
    assert attempts() == [100, BURST, 1]
    clock[0] += 10
    guard.check(right, "192.0.2.1")
    with pytest.raises(Unauthorized):
        guard.check(wrong, "192.0.2.1")
    with pytest.raises(TooManyRequests):
        guard.check(wrong, "192.0.2.1")


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [
        ("127.0.0.1", None, False),
        ("localhost", None, False),
        (EVERYWHERE, None, True),
        (EVERYWHERE, ADMIN_TOKEN, False),
    ],
)
async def test_a_reachable_admin_port_without_a_token_is_logged(
    start_gateway: StartGateway, caplog: pytest.LogCaptureFixture, host: str, token: str | None, warned: bool
) -> None:
    gateway = await start_gateway(admin={"host": host, "token": token})
    assert any("admin port is reachable" in record.getMessage() for record in caplog.records) == warned
    gateway.ports = type(gateway.ports)(gateway.ports.public, gateway.ports.admin.replace(EVERYWHERE, "127.0.0.1"))
    assert (await gateway.get("/metrics", admin=True)).status == 200  # reading needs no token


def test_only_this_machine_is_loopback() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"))
    assert not any(is_loopback(host) for host in (EVERYWHERE, "::", "10.0.0.1", "localhost.example", "admin", ""))
