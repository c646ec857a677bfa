"""Access checks: signature, validity, token."""

import time
from calendar import timegm

import pytest

from gateway_dev.cos_emulator.access import Credential
from gateway_dev.cos_emulator.server import CosEmulator

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
    clock.offset = -90  # the SDK signs from a minute ago
    answer = await client.get("a b.png")
    assert (answer.status, error_of(answer)["Code"]) == (403, "RequestTimeTooSkewed")


async def test_a_wrong_signature_is_answered_with_the_signed_texts(client: Client) -> None:
    client.secrets["SecretKey"] = "other"
    answer = await client.get("a b.png")
    nodes = error_of(answer)
    assert (answer.status, nodes["Code"]) == (403, "SignatureDoesNotMatch")
    assert nodes["Message"] == "The Signature you specified is invalid."
    assert nodes["StringToSign"].startswith("sha1\n")
    assert nodes["FormatString"] == "get\n/a b.png\n\nhost=127.0.0.1\n"


async def test_what_is_signed_must_be_sent_unchanged(client: Client, cos: CosEmulator) -> None:
    host = {"Host": f"{BUCKET}.cos.local:{cos.port}"}
    typed = client.presign("a b.png", params={"response-content-type": "image/png"})
    ranged = client.presign("a b.png", headers={"Range": "bytes=0-1"})
    for url, headers, status in (
        (client.presign("a b.png"), host, 403),
        (client.presign("a b.png", sign_host=False), host, 200),
        (typed, {}, 200),
        (typed.replace("image%2Fpng", "text%2Fhtml"), {}, 403),
        (typed.removesuffix("&response-content-type=image%2Fpng"), {}, 403),
        (ranged, {}, 403),
        (ranged, {"Range": "bytes=0-2"}, 403),
        (ranged, {"Range": "bytes=0-1"}, 206),
    ):
        answer = await client.fetch(url, headers=headers)
        assert answer.status == status
        assert status != 403 or error_of(answer)["Code"] == "SignatureDoesNotMatch"


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


async def test_a_token_is_a_parameter_or_a_header_and_ends_the_life_of_a_url(
    client: Client, cos: CosEmulator, clock: Clock
) -> None:
    token, name = "tok/en+==", "x-cos-security-token"
    assert isinstance(cos.credentials, dict)
    cos.credentials[SECRET_ID] = Credential(SECRET_KEY, token, clock() + 100)
    signed, unsigned = client.presign("a b.png", params={name: token}), client.presign("a b.png")
    for url, headers in ((signed, {}), (f"{unsigned}&{name}=tok%2Fen%2B%3D%3D", {}), (unsigned, {name: token})):
        assert (await client.fetch(url, headers=headers)).status == 200
    for headers in ({}, {name: "other"}):
        answer = await client.fetch(unsigned, headers=headers)
        assert (answer.status, error_of(answer)["Code"]) == (403, "InvalidAccessKeyId")
    clock.offset = 101
    answer = await client.fetch(signed)
    assert (answer.status, error_of(answer)["Code"]) == (400, "ExpiredToken")


def test_repr_of_a_credential_contains_no_secret() -> None:
    shown = repr(Credential("top-secret", "token-value", 5))
    assert "top-secret" not in shown
    assert "token-value" not in shown
