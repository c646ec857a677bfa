"""Image ids that are not valid: always a 4xx, never a traceback."""

import pytest
import redis
import yarl

from tests.conftest import RunningGateway


@pytest.mark.parametrize(
    "raw",
    [
        "%00",
        "a%00b",
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "a%2Fb",
        "a%5Cb",
        "x" * 129,
        "x" * 3000,
        "a%0d%0aSet-Cookie:%20x",
        "%ff%fe",
        "%F0%9F%98%80",
        "%ED%A0%80",
        "-leading",
        "a%20b",
        "%25",
        "a;b",
        "'%20OR%201=1--",
    ],
)
@pytest.mark.parametrize("form", ["/i/{}", "/api/v1/images/{}/proxy", "/api/v1/images/{}/url"])
async def test_a_bad_id_is_refused(
    gateway: RunningGateway, caplog: pytest.LogCaptureFixture, form: str, raw: str
) -> None:
    url = yarl.URL(gateway.ports.public + form.format(raw), encoded=True)
    async with gateway.session.get(url, allow_redirects=False) as answer:
        assert 400 <= answer.status < 500
        body = await answer.json()
    assert body["status"] == "error"
    assert body["code"] in {"invalid_image_id", "not_found"}
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]


async def test_a_bad_id_is_not_looked_up(gateway: RunningGateway, redis_client: "redis.Redis") -> None:
    gets = redis_client.info("commandstats").get("cmdstat_get")
    assert (await gateway.get("/i/-bad")).status == 400
    assert gateway.sample("catalog_queries_total", result="missing") == 0
    assert redis_client.info("commandstats").get("cmdstat_get") == gets
