"""``server.cors_origins``: which pages may read answers to requests with cookies."""

import itertools

import pytest
from pydantic import ValidationError

from gateway.settings import ServerSettings
from tests.conftest import JWT_SECRET, Answer, Images, RunningGateway, StartGateway, token_for

PAGE, OTHER = "https://www.example.com", "https://example.com"
MEMORY = {"memory_cache": {"max_bytes": 1_000_000}}


@pytest.fixture
async def gateway(start_gateway: StartGateway, images: Images) -> RunningGateway:
    """A gateway that lists one origin, with a public image in memory, and a private one."""
    gateway = await start_gateway(server={"cors_origins": [PAGE]}, image_proxy=MEMORY)
    await images.add("cat")
    await images.add("own", owner="alice", public=False)
    await gateway.get("/i/cat")
    return gateway


def values(answer: Answer, name: str) -> list[str]:
    """Return the values of a field that may be repeated."""
    return [value for found, value in answer.headers.items() if found == name]


REQUESTS = (
    "GET /i/cat",
    "HEAD /i/cat",
    "GET /i/own",
    "GET /i/cat?redirect=true",
    "GET /i/missing",
    "GET /api/v1/images/cat/url",
    "POST /api/v1/images/urls",
    "OPTIONS /api/v1/images/urls",
    "GET /static/config.json",
)


async def test_a_listed_origin_may_send_credentials_and_no_other_one(gateway: RunningGateway) -> None:
    origins = (PAGE, OTHER, None, f"{PAGE}:443", f"{PAGE}.evil.example", "null")
    for request, origin in itertools.product(REQUESTS, origins):
        method, path = request.split()
        headers = {"Authorization": f"Bearer {token_for('alice')}", **({"Origin": origin} if origin else {})}
        body = {"image_ids": ["cat"]} if method == "POST" else None
        answer = await gateway.request(method, path, headers=headers, json=body)
        allowed = values(answer, "Access-Control-Allow-Origin")
        credentials = values(answer, "Access-Control-Allow-Credentials")
        assert (allowed, credentials) == (([PAGE], ["true"]) if origin == PAGE else (["*"], [])), request
        assert "Origin" in ", ".join(values(answer, "Vary"))


async def test_without_the_list_answers_do_not_vary(start_gateway: StartGateway, images: Images) -> None:
    gateway = await start_gateway(image_proxy=MEMORY)
    await images.add("cat")
    for _ in range(2):
        answer = await gateway.get("/i/cat", headers={"Origin": PAGE})
        assert "Vary" not in answer.headers
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("cookie", [None, "session"])
async def test_a_refusal_says_whether_a_cookie_counts(start_gateway: StartGateway, cookie: str | None) -> None:
    """A script that asks without cookies why an ``<img>`` failed cannot believe a 404 that depends on them."""
    gateway = await start_gateway(access={"jwt": {"secret": JWT_SECRET, "cookie": cookie}})
    answer = await gateway.request("HEAD", "/i/missing")
    assert answer.headers["Vary"] == ("Authorization" if cookie is None else "Authorization, Cookie")
    assert "Vary" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize(
    "origin", ["*", "null", "www.example.com", f"{PAGE}/", f"{PAGE}:443", "http://a:80", "HTTPS://a", "https://a b"]
)
def test_only_exact_origins_are_accepted(origin: str) -> None:

    with pytest.raises(ValidationError, match="an origin as browsers send it"):
        ServerSettings(cors_origins=(origin,))
