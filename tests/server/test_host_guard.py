"""The admin port answers by its own names alone."""

import logging

import pytest
from pydantic import ValidationError

from gateway.service.ports import applications
from gateway.settings import AdminSettings
from tests.conftest import RunningGateway, StartGateway
from tests.raw_client import exchange, statuses

OWN = ("localhost:9090", "LOCALHOST.", "admin.localhost", "127.0.0.1:9090", "192.0.2.7", "[::1]:9090")
OTHER = (
    "evil.example:9090",
    "127.0.0.1.evil.example",
    "[::1].evil.example",
    "[evil.example]",
    "localhost@evil.example",
)


async def test_only_names_of_this_machine_are_answered(gateway: RunningGateway) -> None:
    for host in (*OWN, *OTHER):
        status = 200 if host in OWN else 403
        assert (await gateway.get("/metrics", admin=True, headers={"Host": host})).status == status, host
    # A browser always sends the field.
    assert statuses(await exchange(gateway.ports.admin, b"GET /readyz HTTP/1.0\r\n\r\n")) == [200]


async def test_every_address_refuses_another_name(gateway: RunningGateway) -> None:
    routes = [
        (route.method, route.resource.canonical.format(image_id="cat", name="console.js"))
        for route in applications(gateway.service)[1].router.routes()
        if route.resource is not None
    ]
    assert ("GET", "/api/v1/monitoring/queue") in routes
    for method, path in [*routes, ("GET", "/no/such")]:
        refused = await gateway.request(method, path, admin=True, headers={"Host": "evil.example"})
        assert refused.status == 403, path
        assert method == "HEAD" or refused.json()["code"] == "foreign_host"


async def test_configured_names_are_answered(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(admin={"host": "localhost", "allowed_hosts": ["Gateway-1.internal", "gateway"]})
    for host in ("gateway-1.internal:9090", "GATEWAY", "gateway-1.internal."):
        assert (await gateway.get("/metrics", admin=True, headers={"Host": host})).status == 200
    assert (await gateway.get("/metrics", admin=True, headers={"Host": "gateway-2.internal"})).status == 403


async def test_the_first_refused_name_is_logged(gateway: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    for host in ("prometheus.example:9090", "other.example"):
        await gateway.get("/metrics", admin=True, headers={"Host": host})
    (message,) = (record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
    assert "host=prometheus.example;" in message
    assert "admin.allowed_hosts" in message


async def test_what_is_no_name_is_not_logged(gateway: RunningGateway, caplog: pytest.LogCaptureFixture) -> None:
    await gateway.get("/metrics", admin=True, headers={"Host": "<script>"})
    assert "script" not in caplog.text
    assert "not a name" in caplog.text


@pytest.mark.parametrize("name", ["", "http://gateway", "gateway:9090", "a b", "*", ".internal"])
def test_a_mistake_in_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="must be the name of a host, without a port"):
        AdminSettings(allowed_hosts=(name,))
