"""The id that ties an answer to its log lines."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.request_context import request_id_from

SAFE = re.compile(r"[A-Za-z0-9._-]{8,64}")


@pytest.mark.parametrize("given_id", ["abcdefgh", "6f9619ff-8b86-d011-b42d-00cf4fc964ff", "a.b_c-d.0", "x" * 64])
def test_the_id_of_a_proxy_in_front_is_kept(given_id: str) -> None:
    assert request_id_from(given_id) == given_id


@pytest.mark.parametrize(
    "given_id",
    [None, "", "short", "x" * 65, "abcdefgh\r\nX: y", "abcdefgh\n", "abc defgh", "abcdefgé", '{"a":"bcdef"}'],
)
def test_an_id_that_cannot_safely_be_logged_is_replaced_by_one_of_its_own(given_id: str | None) -> None:
    made = {request_id_from(given_id) for _ in range(1000)}
    assert len(made) == 1000
    assert all(SAFE.fullmatch(request_id) for request_id in made - {given_id})
    assert given_id not in made


@given(st.text(max_size=80))
def test_every_id_is_safe(given_id: str) -> None:
    assert SAFE.fullmatch(request_id_from(given_id))
