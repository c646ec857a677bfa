"""Commands as they are packed for Redis."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Connection, Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import DataError

from gateway.redis_store.client import open_redis
from gateway.settings import RedisSettings

_ARGUMENT = st.text(st.characters(exclude_categories=["Cs"])) | st.binary() | st.integers() | st.floats(allow_nan=False)


async def made_connection() -> AbstractConnection:
    async with open_redis(RedisSettings(url=SecretStr("redis://localhost:1/0"))) as client:
        assert isinstance(client, Redis)
        pool = client.connection_pool
        return pool.connection_class(**pool.connection_kwargs)


@given(st.sampled_from(["GET", b"GET", "CLIENT SETNAME", b"SCRIPT LOAD"]), st.lists(_ARGUMENT))
async def test_a_command_is_packed_to_the_byte_as_by_the_library(
    name: str | bytes, arguments: list[str | bytes | int | float]
) -> None:
    expected = Connection().pack_command(name, *arguments)
    packed = (await made_connection()).pack_command(name, *arguments)
    assert b"".join(packed) == b"".join(expected)
    assert len(packed) == 1


@pytest.mark.parametrize("argument", [None, ["a"]])
async def test_what_redis_has_no_type_for_is_refused_as_by_the_library(argument: Any) -> None:
    with pytest.raises(DataError):
        (await made_connection()).pack_command("SET", "a", argument)
