"""The identity provider's published keys, fetched from a real server that can fail."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from jwt.algorithms import RSAAlgorithm

from gateway.access.caller import BadCredentials
from gateway.access.jwks import Jwks, keep_fetching
from gateway.access.tokens import Tokens
from gateway.concurrency.clocks import boot_time
from gateway.errors import DependencyDegraded
from gateway.net.bounded_http import ServiceUnavailable
from gateway.service.metrics import Metrics
from gateway.settings import JwtSettings
from tests.access.credentials import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    ISSUER,
    PRIVATE_KEYS,
    RSA_KEY,
    bearer,
    document,
    public_pem,
    published,
    signed_with_hmac,
    token,
)
from tests.conftest import Images, StartGateway
from tests.serving import serving
from tests.tier import Clock
from tests.waiting import until

ALGORITHMS = ("RS256", "ES256", "EdDSA")


ALL = document(*(published(key, algorithm, algorithm.lower()) for algorithm, key in PRIVATE_KEYS.items()))


@dataclass
class Provider:
    """An identity provider with changeable answers."""

    url: str = ""
    body: bytes = ALL
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    requests: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        """The document, or the fault."""
        del request
        self.requests += 1
        return web.Response(body=self.body, status=self.status, headers=self.headers)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """One that publishes a key of each kind."""
    provider = Provider()
    app = web.Application()
    app.router.add_get("/keys", provider.answer)
    async with serving(app) as address:
        provider.url = f"{address}/keys"
        yield provider


def verifying(keys: Jwks) -> Tokens:
    """Verifies tokens that were signed with one of the keys."""
    settings = {"jwks_url": "https://id.example/keys", "audience": AUDIENCE, "issuer": ISSUER}
    return Tokens(JwtSettings.model_validate(settings), keys)


def keys_of(data: bytes) -> Jwks:
    """Those of a document."""
    keys = Jwks(ALGORITHMS)
    keys.replace(data)
    return keys


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_is_verified_with_the_key_it_names_or_with_the_only_one_of_its_algorithm(algorithm: str) -> None:
    key = PRIVATE_KEYS[algorithm]
    named, nameless = (token(key=key, algorithm=algorithm, headers=kid) for kid in ({"kid": algorithm.lower()}, None))
    for good in (named, nameless):
        assert verifying(keys_of(ALL)).verify(good).user == "alice"
    two = keys_of(document(*json.loads(ALL)["keys"], published(key, algorithm, "second")))
    assert verifying(two).verify(named).user == "alice"
    with pytest.raises(BadCredentials):
        verifying(two).verify(nameless)


def test_a_key_verifies_its_own_algorithm_whatever_the_token_says() -> None:
    for algorithm, key in PRIVATE_KEYS.items():
        for kid in {"rs256", "es256", "eddsa", "unknown"} - {algorithm.lower()}:
            with pytest.raises(BadCredentials):
                verifying(keys_of(ALL)).verify(token(key=key, algorithm=algorithm, headers={"kid": kid}))


def test_a_published_key_is_never_used_as_a_secret() -> None:
    """Key confusion (RFC 8725 section 2.1), with the key as PEM and as its JSON."""
    for key in PRIVATE_KEYS.values():
        with pytest.raises(BadCredentials):
            verifying(keys_of(ALL)).verify(signed_with_hmac(public_pem(key).encode()))
    for entry in json.loads(ALL)["keys"]:
        with pytest.raises(BadCredentials):
            verifying(keys_of(ALL)).verify(signed_with_hmac(json.dumps(entry).encode()))


def test_a_published_symmetric_key_is_ignored() -> None:
    """``oct`` (RFC 7518 section 6.4) in a public document would be a secret that everybody has."""
    secret = {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "oct", "alg": "HS256"}
    assert keys_of(document(secret)).is_empty
    with pytest.raises(BadCredentials):
        verifying(keys_of(document(secret, published(ED_KEY, "EdDSA", "ed")))).verify(
            signed_with_hmac(b"secretsecretsecretsecretsecret")
        )


@pytest.mark.parametrize(
    "entry",
    [
        published(EC_KEY, "ES256", "k", use="enc"),
        published(EC_KEY, "ES256", "k", alg="ES384"),
        published(EC_KEY, "ES256", "k", alg=["ES256"]),
        published(EC_KEY, "ES256", "k", crv="P-384"),
        published(EC_KEY, "ES256", "k", x="!!"),
        published(EC_KEY, "ES256", "k", y=None),
        published(EC_KEY, "ES256", "k", kty="RSA"),
        published(RSA_KEY, "RS256", "k", e="AA"),
        published(ED_KEY, "EdDSA", "k", x="AAAA"),
        published(generate_private_key(SECP384R1()), "ES256", "k"),
        *(published(key, algorithm, "k", d="AAAA") for algorithm, key in PRIVATE_KEYS.items()),
        RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True) | {"alg": "RS256", "kid": "k"},
        {"kty": "OKP", "crv": "X25519", "x": "AAAA"},
        {},
        [],
        "key",
        None,
    ],
)
def test_unusable_keys_are_ignored(entry: Any) -> None:
    assert (
        verifying(keys_of(document(entry, published(RSA_KEY, "RS256", "good"))))
        .verify(token(key=RSA_KEY, algorithm="RS256", headers={"kid": "good"}))
        .user
    )
    assert keys_of(document(entry)).is_empty


def test_a_token_whose_key_is_not_published_any_more_is_refused_at_once() -> None:
    keys = keys_of(ALL)
    tokens, signed = verifying(keys), token(key=ED_KEY, algorithm="EdDSA")
    assert tokens.verify(signed).user == "alice"
    keys.replace(document(published(RSA_KEY, "RS256", "rs256")))
    with pytest.raises(BadCredentials):
        tokens.verify(signed)
    rsa = token(key=RSA_KEY, algorithm="RS256")
    assert tokens.verify(rsa).user == "alice"
    keys.replace(document())
    with pytest.raises(BadCredentials):
        tokens.verify(rsa)


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b'{"keys": 7}', b"\xff", b"[" * 99999])
def test_an_invalid_document_changes_no_key(data: bytes) -> None:
    keys = keys_of(ALL)
    with pytest.raises(ServiceUnavailable):
        keys.replace(data)
    assert verifying(keys).verify(token(key=ED_KEY, algorithm="EdDSA")).user


class TestFetching:
    """In the background, kept through outages, and never at the pleasure of clients."""

    async def test_keys_are_fetched_before_the_gateway_serves(self, provider: Provider) -> None:
        keys = Jwks(ALGORITHMS)
        async with keep_fetching(keys, provider.url, Metrics().access):
            assert verifying(keys).verify(token(key=ED_KEY, algorithm="EdDSA")).user
            await keys.probe()
        assert provider.requests == 1

    @pytest.mark.parametrize(
        "failure",
        [
            {"status": 500},
            {"status": 302, "headers": {"Location": "http://169.254.169.254/"}},
            {"body": b"<html>maintenance</html>"},
        ],
        ids=["error", "redirect", "no-document"],
    )
    async def test_keys_stay_valid_during_an_outage(self, provider: Provider, failure: dict[str, Any]) -> None:
        keys = Jwks(ALGORITHMS)
        async with keep_fetching(keys, provider.url, Metrics().access, refresh=0.01, retry=0.01):
            for name, value in failure.items():
                setattr(provider, name, value)
            requests = provider.requests
            await until(lambda: provider.requests >= requests + 3)
            assert verifying(keys).verify(token(key=ED_KEY, algorithm="EdDSA")).user
            with pytest.raises(DependencyDegraded, match="cannot be fetched"):
                await keys.probe()

    async def test_a_provider_that_is_down_at_the_start_is_retried(self, provider: Provider) -> None:
        keys, good = Jwks(ALGORITHMS), token(key=ED_KEY, algorithm="EdDSA")
        async with keep_fetching(keys, "http://127.0.0.1:1/keys", Metrics().access):
            assert not _is_good(keys, good)
        provider.status = 503
        async with keep_fetching(keys, provider.url, Metrics().access, retry=0.01):
            assert not _is_good(keys, good)
            provider.status = 200
            await until(lambda: _is_good(keys, good))

    async def test_an_unknown_key_is_fetched_at_most_once_in_a_pause(self, provider: Provider) -> None:
        keys = Jwks(ALGORITHMS)
        new = generate_private_key(SECP256R1())
        good = token(key=new, algorithm="ES256", headers={"kid": "new"})
        async with keep_fetching(keys, provider.url, Metrics().access, min_interval=0.2):
            provider.body = document(published(new, "ES256", "new"))
            assert not _is_good(keys, good)  # triggers the fetch
            for number in range(1000):
                assert not _is_good(keys, token(key=new, algorithm="ES256", headers={"kid": str(number)}))
            await until(lambda: _is_good(keys, good))
            assert provider.requests == 2

    @pytest.mark.parametrize(("size", "is_accepted"), [(256 * 1024, True), (256 * 1024 + 1, False)])
    async def test_a_document_has_at_most_256_kib(self, provider: Provider, size: int, is_accepted: bool) -> None:
        keys = Jwks(ALGORITHMS)
        provider.body = ALL + b" " * (size - len(ALL))
        async with keep_fetching(keys, provider.url, Metrics().access):
            assert _is_good(keys, token(key=ED_KEY, algorithm="EdDSA")) == is_accepted

    async def test_an_unknown_key_is_fetched_60_seconds_after_the_last_fetch(self, provider: Provider) -> None:
        keys, clock = Jwks(ALGORITHMS), Clock()
        async with keep_fetching(keys, provider.url, Metrics().access, monotonic=clock):
            await asyncio.sleep(0)  # the task reads the clock
            clock.now += 60 - 0.25
            began = time.monotonic()
            assert not _is_good(keys, token(key=ED_KEY, algorithm="EdDSA", headers={"kid": "new"}))
            await until(lambda: provider.requests == 2)
            assert time.monotonic() - began > 0.2

    async def test_an_unexpected_error_does_not_end_the_task(
        self, provider: Provider, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Failing(Jwks):
            """Fails at the second document."""

            documents = 0

            def replace(self, document: bytes) -> None:
                self.documents += 1
                if self.documents == 2:
                    raise LookupError("unexpected failure")
                super().replace(document)

        keys, metrics = Failing(ALGORITHMS), Metrics()
        new = generate_private_key(SECP256R1())
        async with keep_fetching(keys, provider.url, metrics.access, refresh=0.01, retry=0.01):
            provider.body = document(published(new, "ES256", "new"))
            await until(lambda: _is_good(keys, token(key=new, algorithm="ES256", headers={"kid": "new"})))
        counted = metrics.registry.get_sample_value("image_gateway_background_errors_total", {"task": "jwks"})
        assert counted == 1
        assert "unexpected failure" in caplog.text

    async def test_an_unparsable_token_triggers_no_fetch(self) -> None:
        keys = keys_of(ALL)
        for rubbish in ("rubbish", "a.b.c", signed_with_hmac(b"x" * 32), token(headers={"kid": "new"})):
            assert not _is_good(keys, rubbish)
        assert not keys.missed.is_set()


async def test_a_gateway_serves_owners_whose_tokens_the_provider_signed(
    start_gateway: StartGateway, images: Images, provider: Provider
) -> None:
    gateway = await start_gateway(access={"jwt": {"jwks_url": provider.url, "audience": AUDIENCE}})
    await images.add("mine", b"body", owner="alice", public=False)
    for algorithm, key in PRIVATE_KEYS.items():
        good = token(key=key, algorithm=algorithm, headers={"kid": algorithm.lower()})
        assert (await gateway.get("/i/mine", headers=bearer(good))).body == b"body"
    for bad in (signed_with_hmac(public_pem(RSA_KEY).encode()), token(), "rubbish"):
        assert (await gateway.get("/i/mine", headers=bearer(bad))).status == 401
    assert provider.requests == 1


async def test_before_the_first_key_set_nobody_says_that_a_token_is_wrong(
    start_gateway: StartGateway, images: Images, provider: Provider
) -> None:
    """A 401 would log users out."""
    provider.status = 503
    gateway = await start_gateway(access={"jwt": {"jwks_url": provider.url, "audience": AUDIENCE}})
    await images.add("mine", owner="alice", public=False)
    await images.add("public")
    good = bearer(token(key=ED_KEY, algorithm="EdDSA"))
    for path in ("/i/mine", "/i/unknown", "/api/v1/images/mine/url", "/api/v1/images/mine/status"):
        answer = await gateway.get(path, headers=good)
        assert (answer.status, answer.json()["code"]) == (503, "keys_unavailable"), path
        assert "Server-Timing" not in answer.headers, "the duration shows whether the image exists"
    assert (await gateway.get("/api/v1/images/mine/access", headers=good)).status == 403
    assert (await gateway.get("/i/public", headers=good)).status == 200
    assert (await gateway.get("/i/mine", headers=bearer("rubbish"))).status == 401
    assert (await gateway.get("/i/mine")).status == 404
    keys = gateway.service.access.key_set.value
    assert keys is not None
    keys.replace(document())
    assert (await gateway.get("/i/mine", headers=good)).status == 401


async def test_a_key_that_the_provider_withdraws_makes_kept_decisions_void(
    start_gateway: StartGateway, provider: Provider
) -> None:
    """nginx is told by this gateway and by every other one, whose next fetch may come minutes later."""
    replicas = [await start_gateway(access={"jwt": {"jwks_url": provider.url}}) for _ in range(2)]
    logs = [gateway.service.changes.log for gateway in replicas]
    await until(lambda: all(log.hears(boot_time()) for log in logs))
    keys = replicas[0].service.access.key_set.value
    assert keys is not None
    before = [log.rights_changed_at for log in logs]
    keys.replace(ALL)
    assert logs[0].rights_changed_at == before[0], "these are the same keys"
    keys.replace(document(published(ED_KEY, "EdDSA", "ed")))
    await until(lambda: all(log.rights_changed_at > earlier for log, earlier in zip(logs, before, strict=True)))


def _is_good(keys: Jwks, encoded: str) -> bool:
    try:
        verifying(keys).verify(encoded)
    except BadCredentials:
        return False
    return True
