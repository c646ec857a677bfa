"""Health checks and metrics, for operators."""

from tests.conftest import Images, RunningGateway


async def test_a_healthy_gateway_is_ready_on_both_ports(gateway: RunningGateway) -> None:
    for admin in (False, True):
        alive = await gateway.get("/healthz", admin=admin)
        assert (alive.status, alive.json()) == (200, {"status": "alive"})
        ready = await gateway.get("/readyz", admin=admin)
        assert ready.status == 200
        assert ready.json() == {
            "status": "ready",
            "checks": {"redis": "ok", "postgres": "ok", "cos": "ok"},
        }


async def test_metrics_are_on_the_admin_port_only(gateway: RunningGateway, images: Images) -> None:
    await images.add("a", b"12345")
    await gateway.get("/i/a")
    await gateway.get("/i/never-there")
    assert (await gateway.get("/metrics")).status == 404
    answer = await gateway.get("/metrics", admin=True)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    text = answer.body.decode()
    assert 'image_gateway_requests_total{delivery="stream",route="short",status="200"} 1.0' in text
    assert 'image_gateway_requests_total{delivery="none",route="short",status="404"} 1.0' in text
    assert "image_gateway_response_bytes_total 5.0" in text
    assert "never-there" not in text
    assert "process_resident_memory_bytes" in text
