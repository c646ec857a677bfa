"""A reload changes authentication: tokens, the proxy's header, the admin, links, and the addresses of clients."""

import asyncio
import json
from collections.abc import AsyncIterator

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from gateway.access.signed_links import SignedLinks, short_address
from gateway.errors import ConfigurationRefused
from gateway.settings import Live, SignedLinksSettings
from tests.conftest import ADMIN_TOKEN, JWT_SECRET, Images, RunningGateway, StartGateway, token_for
from tests.reload.proofs import proves

OTHER_SECRET = "another-secret-of-thirty-two-bytes-or-more"
KEYS = {"one": "the-first-key-of-links-is-thirty-two", "two": "the-second-key-of-links-is-thirty-two"}


async def status(gateway: RunningGateway, path: str, **headers: str) -> int:
    """The status of a GET with these headers."""
    return (await gateway.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})).status


async def purge(gateway: RunningGateway, token: str = ADMIN_TOKEN, image_id: str = "a") -> int:
    """The status of a purge."""
    headers = {"Authorization": f"Bearer {token}"}
    purged = {"image_ids": [image_id]}
    return (await gateway.request("POST", "/api/v1/cache/purge", admin=True, json=purged, headers=headers)).status


@proves("access.jwt")
async def test_tokens_are_judged_by_the_new_settings_at_once(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    old, new = (f"Bearer {token_for('alice', secret=secret)}" for secret in (JWT_SECRET, OTHER_SECRET))
    for _ in range(2):
        assert await status(gateway, "/i/mine", Authorization=old) == 200
    await gateway.reload(access={"jwt": {"secret": JWT_SECRET, "audience": "images"}})
    assert await status(gateway, "/i/mine", Authorization=old) == 401
    result = await gateway.reload(access={"jwt": {"secret": OTHER_SECRET}})
    assert result.changed == ("access.jwt",)
    assert await status(gateway, "/i/mine", Authorization=old) == 401
    assert await status(gateway, "/i/mine", Authorization=new) == 200
    await gateway.reload(access={"jwt": None})
    assert await status(gateway, "/i/mine", Authorization=new) == 404


@pytest.fixture
async def provider() -> AsyncIterator[tuple[str, ec.EllipticCurvePrivateKey]]:
    """An identity provider: the address of its key set, and the key that it signs with."""
    key = ec.generate_private_key(ec.SECP256R1())
    document = {"keys": [{**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": "k", "alg": "ES256"}]}

    async def key_set(_request: web.Request) -> web.Response:
        return web.json_response(document)

    app = web.Application()
    app.router.add_get("/jwks", key_set)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/jwks")), key


@proves("access.jwt")
async def test_a_provider_s_keys_are_fetched_before_tokens_need_them(
    gateway: RunningGateway, images: Images, provider: tuple[str, ec.EllipticCurvePrivateKey]
) -> None:
    await images.add("mine", owner="alice", public=False)
    url, key = provider
    await gateway.reload(access={"jwt": {"jwks_url": url, "algorithms": ["ES256"]}})
    claims = jwt.decode(token_for("alice"), options={"verify_signature": False})
    signed = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "k"})
    assert await status(gateway, "/i/mine", Authorization=f"Bearer {signed}") == 200
    assert await status(gateway, "/i/mine", Authorization=f"Bearer {token_for('alice')}") == 401
    await gateway.reload(access={"jwt": None})
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "jwks-fetch"]


async def test_a_provider_that_gives_no_keys_refuses_the_whole_reload(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    with pytest.raises(ConfigurationRefused, match=r"access\.jwt\.jwks_url"):
        await gateway.reload(
            access={"jwt": {"jwks_url": "http://127.0.0.1:1/jwks", "algorithms": ["ES256"]}},
            admin={"token": "a-new-admin-token"},
        )
    assert (await gateway.get("/i/mine", user="alice")).status == 200
    assert await purge(gateway) == 200
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "jwks-fetch"]
    assert gateway.sample("config_last_reload_successful") == 0


@proves("access.forwarded_user")
async def test_the_header_of_a_proxy_is_believed_from_now_on(gateway: RunningGateway, images: Images) -> None:
    await images.add("mine", owner="alice", public=False)
    assert await status(gateway, "/i/mine", X_User_Id="alice") == 404
    await gateway.reload(access={"forwarded_user": {"header": "X-User-Id", "trusted_proxies": ["127.0.0.0/8"]}})
    answer = await gateway.get("/i/mine", headers={"X-User-Id": "alice"})
    assert answer.status == 200
    assert answer.headers["Vary"] == "Authorization, X-User-Id"


@proves("access.decision_ttl")
async def test_nginx_keeps_decisions_for_another_time_and_drops_those_that_it_has(
    gateway: RunningGateway, images: Images
) -> None:
    await images.add("mine", owner="alice", public=False)

    async def kept_for(user: str | None) -> str | None:
        return (await gateway.get("/api/v1/images/mine/access", user=user)).headers.get("X-Decision-For")

    assert [await kept_for(user) for user in ("alice", None)] == ["10", None]
    before = gateway.changes.rights_changed_at
    await gateway.reload(access={"decision_ttl": 20})
    assert [await kept_for(user) for user in ("alice", None)] == ["20", None]
    assert gateway.changes.rights_changed_at > before
    await gateway.reload(access={"decision_ttl": 0})
    assert [await kept_for(user) for user in ("alice", None)] == [None, None]


@proves("admin.token")
async def test_the_old_admin_token_is_refused_at_once(gateway: RunningGateway) -> None:
    await gateway.reload(admin={"token": "another-admin-token"})
    assert await purge(gateway) == 401
    assert await purge(gateway, "another-admin-token") == 200
    await gateway.reload(admin={"token": None})
    assert await purge(gateway, "another-admin-token") == 403


@proves("access.signed_links.keys")
async def test_links_of_a_key_that_is_gone_are_refused_and_the_first_key_signs(
    start_gateway: StartGateway, images: Images, links_table: object
) -> None:
    await images.add("mine", owner="alice", public=False)
    gateway = await start_gateway(access={"signed_links": {"keys": {"one": KEYS["one"]}}})
    old, _ = SignedLinks(Live(SignedLinksSettings(keys={"one": KEYS["one"]}))).make(
        short_address("mine"), expires_in=60, links_killed=0
    )
    assert await status(gateway, old) == 200
    await gateway.reload(access={"signed_links": {"keys": KEYS}})
    result = await gateway.reload(access={"signed_links": {"keys": dict(reversed(KEYS.items()))}})
    assert result.changed == ("access.signed_links.keys",), "the order of keys counts"
    assert await status(gateway, old) == 200
    answer = await gateway.request(
        "POST",
        "/api/v1/images/mine/link",
        json={"expires_in": 60},
        headers={"Authorization": f"Bearer {token_for('alice')}"},
    )
    assert "kid=two" in answer.json()["data"]["url"]
    await gateway.reload(access={"signed_links": {"keys": {"two": KEYS["two"]}}})
    assert await status(gateway, old) == 401
    assert await status(gateway, "/i/mine?" + answer.json()["data"]["url"].partition("?")[2]) == 200


async def test_signed_links_are_turned_on_by_a_restart_alone(gateway: RunningGateway, images: Images) -> None:
    result = await gateway.reload(access={"signed_links": {"keys": KEYS}})
    assert (result.changed, result.need_restart) == ((), ("access.signed_links",))
    answer = await gateway.request("GET", "/api/v1/monitoring/settings", admin=True)
    assert answer.json()["data"]["needs_restart"] == ["access.signed_links"]
    assert answer.json()["data"]["settings"]["access"]["signed_links"] is None
    assert (await gateway.reload(access={"signed_links": None})).need_restart == ()


@proves("server.trusted_proxies")
async def test_the_client_s_address_is_taken_from_the_new_proxies(gateway: RunningGateway) -> None:
    address = gateway.service.access.client_address
    headers = {"X-Forwarded-For": "203.0.113.9"}
    assert address.of(headers, "127.0.0.1") == "127.0.0.1"
    await gateway.reload(server={"trusted_proxies": ["127.0.0.0/8"]})
    assert address.of(headers, "127.0.0.1") == "203.0.113.9"
