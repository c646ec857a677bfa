"""Access checks: signature, validity, token."""

import time
from calendar import timegm
from collections.abc import Callable

import pytest
from yarl import URL

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.server import CosEmulator
from gateway_dev.cos_emulator.store import ObjectStore

from .conftest import BUCKET, SECRET_ID, SECRET_KEY, Client, Clock, error_of

pytestmark = pytest.mark.usefixtures("objects")


async def test_an_expired_url_is_refused_with_the_server_time(client: Client, clock: Clock) -> None:
    clock.offset = 301
    before = int(clock())
    answer = await client.get("a b.png")
    nodes = error_of(answer)
    assert answer.status == 403
    assert list(nodes) == ["Code", "Message", "ServerTime", "Resource", "RequestId", "TraceId"]
    assert (nodes["Code"], nodes["Message"]) == ("AccessDenied", "Request has expired")
    assert before <= timegm(time.strptime(nodes["ServerTime"], "%Y-%m-%dT%H:%M:%SZ")) <= clock()
    assert nodes["Resource"] == "127.0.0.1/a b.png"


async def test_a_url_that_starts_in_the_future_is_refused(client: Client, clock: Clock) -> None:
    clock.offset = -62  # the SDK signs from a minute ago
    answer = await client.get("a b.png")
    assert (answer.status, error_of(answer)["Code"]) == (403, "RequestTimeTooSkewed")


async def test_skew_tolerance_admits_a_url_that_starts_in_the_future(
    store: ObjectStore, clock: Clock, make_client: Callable[[CosEmulator], Client]
) -> None:
    credentials = {SECRET_ID: Credential(SECRET_KEY)}
    async with CosEmulator(store, credentials, default_bucket=BUCKET, skew_tolerance=10, now=clock) as cos:
        clock.offset = -65
        assert (await make_client(cos).get("a b.png")).status == 200
        clock.offset = -75
        assert (await make_client(cos).get("a b.png")).status == 403


async def test_a_wrong_signature_is_answered_with_the_signed_texts(client: Client) -> None:
    client.secrets["SecretKey"] = "other"
    answer = await client.get("a b.png")
    nodes = error_of(answer)
    assert (answer.status, nodes["Code"]) == (403, "SignatureDoesNotMatch")
    assert nodes["Message"] == "The Signature you specified is invalid."
    assert nodes["StringToSign"].startswith("sha1\n")
    assert nodes["FormatString"] == "get\n/a b.png\n\nhost=127.0.0.1\n"


async def test_an_unknown_secret_id_is_refused(client: Client) -> None:
    client.secrets["SecretId"] = "AKIDOTHER"
    answer = await client.get("a b.png")
    assert (answer.status, error_of(answer)["Code"]) == (403, "InvalidAccessKeyId")


async def test_a_url_signed_for_get_is_refused_for_head(client: Client) -> None:
    answer = await client.fetch(client.presign("a b.png"), method="HEAD")
    assert (answer.status, answer.body) == (403, b"")
    assert "x-cos-trace-id" in answer.headers


async def test_a_signed_host_cannot_be_changed(client: Client, cos: CosEmulator) -> None:
    url = client.presign("a b.png")
    answer = await client.fetch(url, headers={"Host": f"{BUCKET}.cos.ap-guangzhou.myqcloud.com"})
    assert error_of(answer)["Code"] == "SignatureDoesNotMatch"
    unbound = client.presign("a b.png", sign_host=False)
    assert (await client.fetch(unbound, headers={"Host": f"{BUCKET}.cos.local:{cos.port}"})).status == 200


async def test_a_signed_header_must_be_sent_unchanged(client: Client) -> None:
    url = client.presign("a b.png", headers={"Range": "bytes=0-1"})
    assert (await client.fetch(url)).status == 403
    assert (await client.fetch(url, headers={"Range": "bytes=0-2"})).status == 403
    assert (await client.fetch(url, headers={"Range": "bytes=0-1"})).status == 206


async def test_a_signed_parameter_cannot_be_changed_or_removed(client: Client) -> None:
    url = client.presign("a b.png", params={"response-content-type": "image/png"})
    assert (await client.fetch(url)).status == 200
    assert (await client.fetch(url.replace("image%2Fpng", "text%2Fhtml"))).status == 403
    assert (await client.fetch(url.removesuffix("&response-content-type=image%2Fpng"))).status == 403


async def test_an_anonymous_request_is_refused(client: Client, cos: CosEmulator) -> None:
    answer = await client.fetch(f"{cos.url}/a%20b.png")
    nodes = error_of(answer)
    assert (answer.status, nodes["Code"], nodes["Message"]) == (403, "AccessDenied", "Access Denied.")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("q-signature", "q-signatur", "q-signature is missing"),
        ("q-sign-algorithm=sha1", "q-sign-algorithm=md5", "q-sign-algorithm is not sha1"),
        ("q-sign-time=1", "q-sign-time=2", "q-key-time differs"),
    ],
)
async def test_the_error_of_a_malformed_signature_names_the_part(client: Client, old: str, new: str, says: str) -> None:
    answer = await client.fetch(client.presign("a b.png").replace(old, new))
    nodes = error_of(answer)
    assert (answer.status, nodes["Code"]) == (403, "AccessDenied")
    assert says in nodes["Message"]


class TestTemporaryCredentials:
    """The token is a parameter or header; a URL is valid no longer than its token."""

    TOKEN = "tok/en+=="

    @pytest.fixture(autouse=True)
    def temporary(self, cos: CosEmulator, clock: Clock) -> None:
        assert isinstance(cos.credentials, dict)
        cos.credentials[SECRET_ID] = Credential(SECRET_KEY, self.TOKEN, clock() + 100)

    async def test_a_signed_token_is_accepted(self, client: Client) -> None:
        url = client.presign("a b.png", params={"x-cos-security-token": self.TOKEN})
        assert (await client.fetch(url)).status == 200

    async def test_a_token_appended_unsigned_is_accepted(self, client: Client) -> None:
        url = URL(client.presign("a b.png"), encoded=True)
        assert (await client.fetch(f"{url}&x-cos-security-token=tok%2Fen%2B%3D%3D")).status == 200

    async def test_a_token_in_a_header_is_accepted(self, client: Client) -> None:
        assert (await client.get("a b.png", headers={"x-cos-security-token": self.TOKEN})).status == 200

    @pytest.mark.parametrize("headers", [{}, {"x-cos-security-token": "other"}], ids=["missing", "wrong"])
    async def test_no_other_token_is_accepted(self, client: Client, headers: dict[str, str]) -> None:
        answer = await client.get("a b.png", headers=headers)
        assert (answer.status, error_of(answer)["Code"]) == (403, "InvalidAccessKeyId")

    async def test_an_expired_token_is_refused(self, client: Client, clock: Clock) -> None:
        url = client.presign("a b.png", params={"x-cos-security-token": self.TOKEN})
        clock.offset = 101
        answer = await client.fetch(url)
        assert (answer.status, error_of(answer)["Code"]) == (400, "ExpiredToken")


def test_repr_of_a_credential_contains_no_secret() -> None:
    shown = repr(Credential("top-secret", "token-value", 5))
    assert "top-secret" not in shown
    assert "token-value" not in shown
