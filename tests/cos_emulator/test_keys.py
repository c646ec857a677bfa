"""Any key that the SDK presigns is the key that is served: byte for byte, over a real socket."""

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gateway.cos_emulator.server import CosEmulator

from .conftest import BUCKET, Client, RawExchange

# The SDK takes one leading slash off a key, and a key that folds to "/" denotes the bucket: neither names an object.
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda key: not key.startswith("/") and any(part not in {"", ".", ".."} for part in key.split("/"))
)
PARTS = st.lists(
    st.sampled_from(
        ["a", "..", ".", "", " ", "+", "%", "%2F", "#", "?", "&", "'", '"', "[", "]", "图", "./", "=", ";"]
    ),
    min_size=1,
    max_size=6,
)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: not name.startswith(("q-", "response-", "image"))  # these mean something
)


def names_an_object(key: str) -> bool:
    depth: list[str] = []
    for part in key.split("/"):
        if part == "..":
            depth[-1:] = []
        elif part not in {"", "."}:
            depth.append(part)
    return bool(depth)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(key=KEYS | PARTS.map("/".join).map(lambda key: "k" + key))
@example("a b+c%d%2F#?&'\"[](){}<>|\\^`~!@$=;:,/./../d//e/图.png")
@example("\0\r\n\t\x7f")
async def test_presigned_keys_round_trip(client: Client, cos: CosEmulator, key: str) -> None:
    assume(names_an_object(key))
    data = key.encode()
    cos.store.put(BUCKET, key, data)
    answer = await client.get(key)
    assert (answer.status, answer.body) == (200, data)
    assert cos.request_log.requests[-1].key == key
    cos.store.delete(BUCKET, key)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(params=st.dictionaries(NAMES, st.text(max_size=20)))
@example({"sign": "0", "q": "", "=": "&"})
@example({"imageMogr2/thumbnail/!50p": "", "a b": "c+d", "x;y": "&="})
async def test_any_parameters_can_be_signed(client: Client, cos: CosEmulator, params: dict[str, str]) -> None:
    cos.store.put(BUCKET, "k", b"data")
    folded = {name.lower(): (name, value) for name, value in params.items()}  # the SDK merges names that differ in case
    answer = await client.fetch(client.presign("k", params=dict(folded.values())))
    assert (answer.status, answer.body) == (200, b"data")


async def test_paths_that_denote_the_bucket_are_never_listed(client: Client, cos: CosEmulator) -> None:
    cos.store.put(BUCKET, "k", b"data")
    for key in ("/../", "//", "/./", "a/..", "a/b/../../", "../../.."):
        answer = await client.get(key)
        assert (answer.status, b"<Code>AccessDenied</Code>" in answer.body) == (403, True), key


async def test_targets_on_the_wire_are_not_folded(client: Client, cos: CosEmulator, exchange: RawExchange) -> None:
    """Proxies and browsers fold ``/../``; the emulator sees and signs what is on the wire."""
    cos.store.put(BUCKET, "a/../b", b"the odd one")
    cos.store.put(BUCKET, "b", b"the plain one")
    target = client.presign("a/../b").removeprefix(cos.url)
    assert target.startswith("/a/..%2Fb?")  # the SDK's guard against clients that fold
    target = target.replace("/a/..%2Fb?", "/a/../b?")
    assert (await exchange(target)).endswith(b"the odd one")
    assert b"SignatureDoesNotMatch" in await exchange(target.replace("/a/../b?", "/b?"))
    assert (await exchange(cos.url + target)).endswith(b"the odd one")
