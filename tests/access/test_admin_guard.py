"""Changes on the admin port need the token, which cannot be guessed; a port that is open to others is logged."""

import pytest
from multidict import CIMultiDict

from gateway.access.admin_guard import BURST, AdminGuard
from gateway.errors import Forbidden, TooManyRequests, Unauthorized
from gateway.net.ip_address import is_loopback
from gateway.service.metrics import Metrics
from gateway.settings import AdminSettings, Live
from tests.conftest import ADMIN_TOKEN, StartGateway, token_for

EVERYWHERE = "0.0.0.0"  # noqa: S104 - a possible configuration
CLIENT = "192.0.2.1"


def guarding(token: str | None) -> AdminGuard:
    """What guards a port under this token."""
    return AdminGuard(Live(AdminSettings.model_validate({"token": token})), Metrics().access.admin_attempts)


def test_the_admin_token_allows_a_change() -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        guarding(ADMIN_TOKEN).check({"Authorization": f"{scheme} {ADMIN_TOKEN}"}, CLIENT)


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
        [("Authorization", "Bearer \udcff")],
        [("Authorization", f"Bearer {token_for('alice')}")],
        [("Authorization", f"Bearer {ADMIN_TOKEN}"), ("Authorization", "Bearer x")],
        [("Cookie", f"token={ADMIN_TOKEN}"), ("X-Admin-Token", ADMIN_TOKEN)],
    ],
)
def test_anything_else_does_not(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(Unauthorized):
        guarding(ADMIN_TOKEN).check(CIMultiDict(headers), CLIENT)
    with pytest.raises(Forbidden):
        guarding(None).check(CIMultiDict(headers), CLIENT)


async def test_an_address_cannot_guess_the_token(start_gateway: StartGateway) -> None:
    """After ten wrong tokens it has to wait, also with the right one: an answer would tell which one that is."""
    gateway = await start_gateway(admin={"token": ADMIN_TOKEN}, server={"trusted_proxies": ["127.0.0.0/8"]})

    async def purge(token: str | None, client: str = CLIENT) -> tuple[int, str | None]:
        headers = {"X-Forwarded-For": client} | ({"Authorization": f"Bearer {token}"} if token is not None else {})
        body = {"image_ids": ["cat"]}
        answer = await gateway.request("POST", "/api/v1/cache/purge", admin=True, headers=headers, json=body)
        assert (answer.status == 401) == answer.headers.get("WWW-Authenticate", "").startswith("Bearer")
        return answer.status, answer.headers.get("Retry-After")

    for number in range(BURST):
        assert await purge(str(number)) == (401, None)
    for token in ("wrong", ADMIN_TOKEN):
        status, wait = await purge(token)
        assert (status, 1 <= int(wait or 0) <= 10) == (429, True)
    assert await purge(ADMIN_TOKEN, "192.0.2.2") == (200, None)
    assert await purge(None) == (401, None), "a request without a token is no guess"


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
