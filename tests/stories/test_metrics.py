"""Metrics, for operators."""

from tests.conftest import Images, RunningGateway


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
