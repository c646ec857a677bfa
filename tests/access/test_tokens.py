"""JSON Web Tokens of every kind of key, and what pretends to be one."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from gateway.access.caller import ANONYMOUS, BadCredentials, Caller
from gateway.access.identity import Authenticator
from gateway.access.jwks import Jwks
from gateway.access.tokens import LEEWAY, Tokens
from gateway.settings import AccessSettings, JwtSettings, Live
from gateway.settings.sources import SettingsError, load_settings
from tests.access.credentials import (
    AUDIENCE,
    COOKIE,
    EC_KEY,
    ED_KEY,
    ISSUER,
    PRIVATE_KEYS,
    RSA_KEY,
    bearer,
    document,
    forged,
    public_pem,
    published,
    signed_with_hmac,
    token,
)
from tests.conftest import JWT_SECRET

SECRET = "a secret long enough for HS512, which wants sixty-four bytes of it."
WEAK_RSA_KEY = generate_rsa_key(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
OTHER_KEY = Ed25519PrivateKey.generate()
REJECTED = Caller(rejected=True)
CLAIMS = {"sub": "alice", "aud": AUDIENCE, "iss": ISSUER}


def tokens(**settings: Any) -> Tokens:
    """Verifies tokens for this audience and issuer."""
    made = JwtSettings.model_validate({"audience": AUDIENCE, "issuer": ISSUER, **settings})
    return Tokens(made)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_secret_verifies_the_algorithm_it_is_configured_for(algorithm: str) -> None:
    assert tokens(secret=SECRET, algorithms=[algorithm]).verify(token(key=SECRET, algorithm=algorithm)).user == "alice"
    for other in {"HS256", "HS384", "HS512"} - {algorithm}:
        with pytest.raises(BadCredentials):
            tokens(secret=SECRET, algorithms=[algorithm]).verify(token(key=SECRET, algorithm=other))


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
def test_a_public_key_verifies_its_own_algorithm(algorithm: str) -> None:
    private = PRIVATE_KEYS[algorithm]
    verifying = tokens(public_key=public_pem(private))
    assert verifying.verify(token(key=private, algorithm=algorithm)).user == "alice"
    for other, other_key in PRIVATE_KEYS.items():
        if other != algorithm:
            with pytest.raises(BadCredentials):
                verifying.verify(token(key=other_key, algorithm=other))


@pytest.mark.parametrize("private", PRIVATE_KEYS.values(), ids=PRIVATE_KEYS)
def test_a_public_key_is_never_used_as_a_secret(private: Any) -> None:
    """Key confusion (RFC 8725 section 2.1): everybody has the public key, so anybody could sign with it."""
    pem = public_pem(private)
    for secret in (pem.encode(), pem.strip().encode(), b""):
        with pytest.raises(BadCredentials):
            tokens(public_key=pem).verify(signed_with_hmac(secret))


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 7, ["HS256"]])
@pytest.mark.parametrize("settings", [{"secret": JWT_SECRET}, {"public_key": public_pem(ED_KEY)}], ids=["hmac", "pem"])
def test_an_unsigned_token_is_refused_in_every_spelling(settings: dict[str, Any], name: Any) -> None:
    claims = {**CLAIMS, "exp": int(time.time()) + 60}
    for header in ({"alg": name, "typ": "JWT"}, {"typ": "JWT"}):
        with pytest.raises(BadCredentials):
            tokens(**settings).verify(forged(header, claims))


@pytest.mark.parametrize("header", [{"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/c"}])
def test_key_references_in_a_token_are_ignored(header: dict[str, str]) -> None:
    mallory = PRIVATE_KEYS["RS256"]
    assert tokens(public_key=public_pem(RSA_KEY)).verify(token(key=mallory, algorithm="RS256", headers=header)).user
    stranger = generate_rsa_key(public_exponent=65537, key_size=2048)
    with pytest.raises(BadCredentials):
        tokens(public_key=public_pem(RSA_KEY)).verify(token(key=stranger, algorithm="RS256", headers=header))


def test_an_unknown_critical_extension_is_refused() -> None:
    """RFC 7515 section 4.1.11."""
    with pytest.raises(BadCredentials):
        tokens(secret=JWT_SECRET).verify(token(headers={"crit": ["exp"], "exp": 1}))


def test_an_application_may_number_its_users() -> None:
    assert tokens(secret=JWT_SECRET).verify(token(sub=42)).user == "42"
    assert tokens(secret=JWT_SECRET, user_claim="uid").verify(token(uid=42)).user == "42"
    values: tuple[Any, ...] = (True, 1.5, "", [], None)
    for invalid in values:
        with pytest.raises(BadCredentials):
            tokens(secret=JWT_SECRET, user_claim="uid").verify(token(uid=invalid))


def test_clocks_may_differ_by_half_a_minute_and_no_more() -> None:
    now = int(time.time())
    for genuine in (token(exp=now - 20), token(nbf=now + 20)):
        assert tokens(secret=JWT_SECRET).verify(genuine).user == "alice"
    for outdated in (token(exp=now - 31), token(nbf=now + 40)):
        with pytest.raises(BadCredentials):
            tokens(secret=JWT_SECRET).verify(outdated)


class CountedKeys(Jwks):
    """A key set with a key, which counts how often it is used."""

    used = 0

    def key_for(self, token: str) -> Any:
        self.used += 1
        return super().key_for(token)


def signed(**claims: Any) -> str:
    """Return a token that the key of ``CountedKeys`` verifies."""
    return token(key=ED_KEY, algorithm="EdDSA", **claims)


class TestRemembered:
    """Valid tokens are verified once."""

    @staticmethod
    def remembering(**limits: int) -> tuple[Tokens, CountedKeys]:
        """Return what verifies tokens and remembers three of them, or so many, and its keys."""
        keys = CountedKeys(["EdDSA"])
        keys.replace(document(published(ED_KEY, "EdDSA", None)))
        settings = {"jwks_url": "https://id.example/keys", "audience": AUDIENCE, "issuer": ISSUER}
        made = JwtSettings.model_validate({**settings, "groups_claim": "teams"})
        return Tokens(made, keys, **limits or {"most": 3}), keys

    def test_a_valid_token_is_verified_once_and_an_invalid_one_each_time(self) -> None:
        verifying, keys = self.remembering()
        good = signed()
        for _ in range(3):
            assert verifying.verify(good).user == "alice"
        assert keys.used == 1
        for number in range(3):
            with pytest.raises(BadCredentials):
                verifying.verify(good[:-8] + "AAAAAAAA")
            assert keys.used == 2 + number

    def test_it_is_verified_again_when_the_keys_change(self) -> None:
        verifying, keys = self.remembering()
        good = signed()
        for kid, used in ((None, 1), (None, 1), ("ed", 2)):
            keys.replace(document(published(ED_KEY, "EdDSA", kid)))
            assert verifying.verify(good).user == "alice"
            assert keys.used == used
        keys.replace(document(published(OTHER_KEY, "EdDSA", "ed")))
        with pytest.raises(BadCredentials):
            verifying.verify(good)

    def test_it_is_refused_from_the_second_of_its_end_with_the_leeway(self) -> None:
        verifying, keys = self.remembering()
        ends_at = int(time.time()) + 60
        ending = signed(exp=ends_at)
        for now in (None, ends_at, ends_at + LEEWAY - 0.001):
            assert verifying.verify(ending, now).user == "alice"
        for used in (1, 2):
            with pytest.raises(BadCredentials, match="expired"):
                verifying.verify(ending, ends_at + LEEWAY)
            assert keys.used == used

    def test_a_flood_of_tokens_leaves_the_tokens_that_were_used_last(self) -> None:
        verifying, keys = self.remembering()
        users = ("first", "second", "third", "second", "fourth", "second", "first")
        used = [(verifying.verify(signed(sub=user, exp=2**40)), keys.used)[1] for user in users]
        assert used == [1, 2, 3, 3, 4, 4, 5]

    def test_tokens_of_many_groups_are_remembered_only_while_their_groups_have_room(self) -> None:
        verifying, keys = self.remembering(most=1000, most_groups=40)
        teams = [f"team-{number}" for number in range(20)]
        first, second, third = (signed(sub=user, teams=teams, exp=2**40) for user in ("first", "second", "third"))
        for used, remembered in ((1, first), (2, second), (3, third), (3, second), (4, first), (4, second), (5, third)):
            assert verifying.verify(remembered).groups == set(teams)
            assert keys.used == used
        for _ in range(3):  # what is forgotten for another reason takes no room
            with pytest.raises(BadCredentials, match="expired"):
                verifying.verify(third, 2**41)
        for kid in ("ed", None):
            keys.replace(document(published(ED_KEY, "EdDSA", kid)))
            verifying.verify(first)
            verifying.verify(second)
            before = keys.used
            verifying.verify(first)
            verifying.verify(second)
            assert keys.used == before


COOKIE_TOKEN = token(aud=None)
BOBS = token(aud=None, sub="bob")
CROSS_SITE = {"Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize(
    ("cookie", "method", "headers", "caller"),
    [
        (f"{COOKIE}={COOKIE_TOKEN}", "GET", {}, Caller("alice")),
        (f"a=b; {COOKIE}={COOKIE_TOKEN}; c", "GET", {}, Caller("alice")),
        (f'{COOKIE}="{COOKIE_TOKEN}"', "GET", {}, Caller("alice")),
        (f"{COOKIE}={COOKIE_TOKEN};{COOKIE}=", "GET", {}, Caller("alice")),
        # A neighbouring site can set a cookie of the same name.
        (f"{COOKIE}={COOKIE_TOKEN}; {COOKIE}={BOBS}", "GET", {}, REJECTED),
        (f"{COOKIE}={COOKIE_TOKEN}; {COOKIE}={COOKIE_TOKEN}", "GET", {}, Caller("alice")),
        (f"Session={COOKIE_TOKEN}; {COOKIE}x=rubbish", "GET", {}, ANONYMOUS),
        (f"{COOKIE}=rubbish", "GET", {}, REJECTED),
        # The header comes first.
        (f"{COOKIE}={BOBS}", "GET", bearer(COOKIE_TOKEN), Caller("alice")),
        (f"{COOKIE}={COOKIE_TOKEN}", "GET", bearer("rubbish"), REJECTED),
        (f"{COOKIE}={COOKIE_TOKEN}", "GET", {"Authorization": "Basic YTpi"}, Caller("alice")),
        # The browser sends the cookie on its own: only requests from the user's own site may change anything.
        (f"{COOKIE}={COOKIE_TOKEN}", "POST", CROSS_SITE, ANONYMOUS),
        (f"{COOKIE}={COOKIE_TOKEN}", "POST", {"Sec-Fetch-Site": "same-origin"}, Caller("alice")),
        (f"{COOKIE}={COOKIE_TOKEN}", "POST", {}, Caller("alice")),
        (f"{COOKIE}={COOKIE_TOKEN}", "GET", CROSS_SITE, Caller("alice")),
    ],
)
def test_a_cookie_has_the_token_where_a_page_cannot_send_a_header(
    cookie: str, method: str, headers: dict[str, str], caller: Caller
) -> None:
    settings = JwtSettings.model_validate({"secret": JWT_SECRET, "cookie": COOKIE})
    authenticator = Authenticator(Live(AccessSettings(jwt=settings)))
    for _ in range(2):  # the second time the token is remembered
        assert authenticator.identify({"Cookie": cookie, **headers}, method=method) == caller


class TestSettings:
    """What cannot be meant stops the start."""

    @pytest.mark.parametrize(
        ("settings", "mistake"),
        [
            ({}, "needs one of secret, public_key and jwks_url; none of them is set"),
            ({"secret": SECRET, "public_key": public_pem(EC_KEY)}, "secret and public_key are set"),
            ({"secret": SECRET, "algorithms": ["RS256"]}, "algorithms: RS256 cannot go with this secret"),
            ({"public_key": public_pem(RSA_KEY), "algorithms": ["HS256"]}, "HS256 cannot go with this public_key"),
            ({"public_key": public_pem(RSA_KEY), "algorithms": ["RS256", "ES256"]}, "ES256 cannot go with"),
            ({"jwks_url": "https://id.example/keys", "algorithms": ["HS256"]}, "HS256 cannot go with this jwks_url"),
            ({"secret": public_pem(RSA_KEY)}, "secret holds a key of a key pair"),
            ({"secret": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 user@host"}, "secret holds a key of a key pair"),
            ({"secret": "short"}, "secret must be at least 32 bytes"),
            ({"public_key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}, "not a public key in PEM"),
            ({"public_key": "rubbish"}, "not a public key in PEM"),
            ({"public_key": public_pem(WEAK_RSA_KEY)}, "must be RSA of 2048 bits or more"),
            ({"public_key": public_pem(generate_private_key(SECP384R1()))}, "EC P-256 or Ed25519"),
            ({"jwks_url": "http://id.example/keys"}, "jwks_url must be an https address"),
            ({"jwks_url": "https://user:password@id.example/keys"}, "jwks_url must be an https address"),
            ({"jwks_url": "ftp://127.0.0.1/keys"}, "jwks_url must be an https address"),
            ({"jwks_url": "http://[::1/keys"}, "jwks_url must be an https address"),
            ({"jwks_url": "https://id.example/k\neys"}, "jwks_url must be an https address"),
            ({"jwks_url": ""}, "jwks_url must be an https address"),
            ({"jwks_url": "https://id.example:99999/keys"}, "jwks_url must be an https address"),
            ({"secret": SECRET, "cookie": "a b"}, "must be a cookie name"),
            ({"secret": SECRET, "algorithms": ["none"]}, "HS256"),
            ({"secret": SECRET, "algorithms": []}, "at least 1 item"),
        ],
    )
    def test_a_mistake_is_named_and_never_quoted(self, settings: dict[str, Any], mistake: str) -> None:
        with pytest.raises(ValidationError) as raised:
            JwtSettings.model_validate(settings)
        assert mistake in str(raised.value)
        for value in settings.values():
            assert not isinstance(value, str) or len(value) < 10 or value not in str(raised.value)

    def test_a_private_key_is_refused_as_public_key(self) -> None:
        pem = ED_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        with pytest.raises(ValidationError, match="not a public key in PEM"):
            JwtSettings(public_key=pem)

    @pytest.mark.parametrize(
        ("settings", "algorithms"),
        [
            ({"secret": SECRET}, ("HS256",)),
            ({"public_key": public_pem(RSA_KEY)}, ("RS256",)),
            ({"public_key": public_pem(EC_KEY)}, ("ES256",)),
            ({"public_key": public_pem(ED_KEY)}, ("EdDSA",)),
            ({"jwks_url": "https://id.example/keys"}, ("RS256", "ES256", "EdDSA")),
            ({"jwks_url": "http://127.0.0.1:8000/keys", "algorithms": ["ES256"]}, ("ES256",)),
            ({"jwks_url": "http://localhost/keys"}, ("RS256", "ES256", "EdDSA")),
        ],
    )
    def test_the_key_decides_the_algorithms(self, settings: dict[str, Any], algorithms: tuple[str, ...]) -> None:
        assert JwtSettings.model_validate(settings).algorithms == algorithms

    def test_a_public_key_is_read_from_the_secrets_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw_settings: dict[str, dict[str, Any]]
    ) -> None:
        config, secrets = tmp_path / "gateway.yaml", tmp_path / "secrets"
        config.write_text(yaml.safe_dump({**raw_settings, "access": {"jwt": {"audience": AUDIENCE}}}))
        secrets.mkdir()
        (secrets / "access__jwt__public_key").write_text(public_pem(EC_KEY))
        monkeypatch.setenv("GATEWAY_SECRETS_DIR", str(secrets))
        made = load_settings(config).access.jwt
        assert made is not None
        assert Tokens(made).verify(token(key=EC_KEY, algorithm="ES256")).user == "alice"
        (secrets / "access__jwt__public_key").write_text("rubbish")
        with pytest.raises(SettingsError, match=r"access\.jwt: public_key is not a public key in PEM"):
            load_settings(config)


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"exp": 1}, "the token has expired"),
    ({"exp": None}, "the token has no exp"),
    ({"exp": float("inf")}, "the token is malformed"),
    ({"exp": [1]}, "the token is malformed"),
    ({"nbf": 2**33, "exp": 2**34}, "the token is not valid yet"),
    ({"iat": 2**33, "exp": 2**34}, "the token is not valid yet"),
    ({"aud": "songs"}, "the token is for another audience than access.jwt.audience"),
    ({"aud": None}, "the token has no aud"),
    ({"iss": "a-stall"}, "the token is from another issuer than access.jwt.issuer"),
    ({"iss": None}, "the token has no iss"),
    ({"sub": None}, "the token names no user"),
)


@pytest.mark.parametrize(
    ("settings", "key", "algorithm"),
    [({"secret": JWT_SECRET}, JWT_SECRET, "HS256"), ({"public_key": public_pem(ED_KEY)}, ED_KEY, "EdDSA")],
    ids=["hmac", "pem"],
)
def test_a_rejected_token_comes_with_the_reason_and_without_the_token(
    settings: dict[str, Any], key: Any, algorithm: str
) -> None:
    made = JwtSettings.model_validate({**settings, "audience": AUDIENCE, "issuer": ISSUER})
    identify = Authenticator(Live(AccessSettings(jwt=made))).identify
    for audience in (AUDIENCE, ["mail", AUDIENCE]):
        assert identify(bearer(token(key=key, algorithm=algorithm, aud=audience))) == Caller("alice")
    shown = [(token(key=key, algorithm=algorithm, **claims), reason) for claims, reason in REFUSED]
    if algorithm == "HS256":
        shown += [(token(key=SECRET), "the token is signed with another key"), ("rubbish", "the token is malformed")]
    for refused, reason in shown:
        caller = identify(bearer(refused))
        assert (caller.rejected, caller.reason) == (True, reason)
