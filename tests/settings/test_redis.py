"""Validation of ``redis.url``: accepted URLs can be opened, no error message quotes a refused one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from gateway.redis_connection.client import open_redis
from gateway.redis_connection.guarded_client import CacheUnavailable
from gateway.settings import RedisSettings
from tests.settings.problems import refusal

SCHEMES = ["redis", "rediss", "unix", *(f"{a}+{b}" for a in ("redis", "rediss") for b in ("sentinel", "cluster"))]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "must begin with redis://"),
        ("http://foo", "must begin with redis://"),
        ("127.0.0.1:6379", "must begin with redis://"),
        ("localhost:6379", "must begin with redis://"),
        ("redis:localhost", "must begin with redis://"),
        ("redis://[::1:6379", "is not a URL"),
        ("redis://h:notaport/0", "a port that is not a number"),
        ("redis://h:0/0", "a port that is not a number"),
        ("redis://h:65536/0", "a port that is not a number"),
        ("redis://:s3cr/et@127.0.0.1:6379/0", "write / ? # @ as %2F"),
        ("redis://:s3cr?et@127.0.0.1:6379/0", "write / ? # @ as %2F"),
        ("redis://:s3cr#et@127.0.0.1:6379/0", "write / ? # @ as %2F"),
        ("redis://:123/et@127.0.0.1:6379/0", "write / ? # @ as %2F"),
        ("redis://h/zero", "number of a database"),
        ("redis://h/0/1", "number of a database"),
        ("redis://h/-1", "number of a database"),
        ("redis://h:1/0?foo=bar", "unknown parameter: redis:// takes db, username"),
        ("redis://h:1/0?ssl_ca_certs=x", "unknown parameter"),
        ("redis://h:1/0?decode_responses=true", "unknown parameter"),
        ("redis://h:1/0?db=x", "parameter db"),
        ("redis://h:1/0?db=", "parameter db"),
        ("rediss://h:1/0?ssl_cert_reqs=never", "parameter ssl_cert_reqs"),
        ("unix://run/redis.sock", "unix:///the/path"),
        ("unix://", "unix:///the/path"),
        ("redis+sentinel://h:notaport/main", "a port that is not a number"),
        ("redis+sentinel://:s3cr/et@h:1/main", "write / ? # @ as %2F"),
        ("redis+sentinel://h:1", "the name of the master"),
        ("redis+sentinel://h:1/main/zero", "the name of the master"),
        ("redis+sentinel://h:1,/main", "host:port,host:port"),
        ("redis+sentinel:///main", "host:port,host:port"),
        ("redis+sentinel://h:1/main?sentinelpassword=x", "redis+sentinel:// takes sentinel_password"),
        ("redis+cluster://h:1,h:notaport", "a port that is not a number"),
        ("redis+cluster://:s3cr/et@h:1", "write / ? # @ as %2F"),
        ("redis+cluster://h:1/1", "one database"),
        ("redis+cluster://h:1?ssl_ca_certs=x", "redis+cluster:// takes none"),
        ("redis+cluster://", "host:port,host:port"),
    ],
)
def test_an_unusable_url_is_refused_in_one_line_that_does_not_quote_it(url: str, expected: str) -> None:
    assert expected in refusal(RedisSettings, "url", url, "s3cr", "et@", "notaport", "foo", "127.0.0.1")


TAKEN = [
    "redis://",
    "redis://127.0.0.1:1",
    "redis://127.0.0.1:1/",
    "redis://user:pass%2Fword@127.0.0.1:1/15",
    "redis://[::1]:1/0",
    "redis://:a:b@c@127.0.0.1:1/0?health_check_interval=30",
    "redis://127.0.0.1:1?db=3&username=u&password=p",
    "rediss://127.0.0.1:1/0?ssl_cert_reqs=none",
    "rediss://127.0.0.1:1/0?ssl_check_hostname=false&ssl_cert_reqs=required",
    "rediss://127.0.0.1:1/0?ssl_ca_certs=/no/where&ssl_certfile=/no/where&ssl_keyfile=/no/where",
    "unix:///no/where.sock",
    "unix://user:password@/no/where.sock?db=2&health_check_interval=30",
    "redis+sentinel://:p@127.0.0.1:1,127.0.0.1:2/main",
    "redis+sentinel://[::1]:1/main/0?sentinel_password=p",
    "rediss+sentinel://127.0.0.1:1/main/0?ssl_ca_certs=/no/where",
    "redis+cluster://:p@127.0.0.1:1,[::1]:1",
    "rediss+cluster://127.0.0.1:1/0?ssl_ca_certs=/no/where",
]


@pytest.mark.parametrize("url", [url for url in TAKEN if url != "redis://"])
async def test_an_accepted_url_fails_with_a_connection_error_only(url: str) -> None:
    async with open_redis(RedisSettings(url=SecretStr(url))) as shards:
        with pytest.raises(CacheUnavailable):
            await shards.servers.all[0].ping()


_PIECES = ["", "h", ":1", ":x", "@", "u:p", "/", "/0", "/main", ",", "?db=1", "?ssl_ca_certs=x", "&", "#", "%", "[::1]"]


@given(scheme=st.sampled_from(SCHEMES), pieces=st.lists(st.sampled_from(_PIECES) | st.text(max_size=5), max_size=6))
async def test_every_accepted_url_opens_a_client(scheme: str, pieces: list[str]) -> None:
    try:
        settings = RedisSettings(url=SecretStr(f"{scheme}://{''.join(pieces)}"))
    except ValidationError:
        return
    async with open_redis(settings):
        pass


def test_shards_are_a_power_of_two() -> None:
    assert RedisSettings(shards=8).shard_count == 8
    with pytest.raises(ValidationError, match="must be a power of two"):
        RedisSettings(shards=12)


def test_each_topology_has_a_url() -> None:
    assert {url.partition("://")[0] for url in TAKEN} == set(SCHEMES)
    for url in TAKEN:
        assert RedisSettings(url=SecretStr(url)).url.get_secret_value() == url
