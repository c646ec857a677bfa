"""Property tests: presigned keys and parameters arrive byte for byte."""

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gateway_dev.cos_emulator.server import CosEmulator

from .conftest import BUCKET, Client

# The SDK removes one leading slash of a key, and a key that normalises to "/" denotes the bucket: neither is an object.
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
async def test_a_presigned_key_names_the_object_byte_for_byte(client: Client, cos: CosEmulator, key: str) -> None:
    assume(names_an_object(key))
    data = key.encode()
    cos.store.put(BUCKET, key, data)
    answer = await client.get(key)
    assert (answer.status, answer.body) == (200, data)
    assert cos.request_log.requests[-1].key == key
    cos.store.delete(BUCKET, key)
