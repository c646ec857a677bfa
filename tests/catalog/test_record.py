"""Object keys that COS takes."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalog.record import InvalidObjectKey, check_object_key


@pytest.mark.parametrize(
    "key",
    [
        "cat.png",
        "a/b/c.png",
        "/leading.png",
        "a//b.png",
        "./a.png",
        "a/../b.png",
        "a b+c%d#e?f&g='h'\"(i)[j].png",
        "图片/日落.png",
        "a%2Fb",
        "...",
        " ",
        "a/",
        "k" * 850,
        "图" * 283,
    ],
)
def test_a_key_of_an_object_is_returned_unchanged(key: str) -> None:
    assert check_object_key(key) == key


@pytest.mark.parametrize("key", ["/", "//", ".", "./", "..", "../", "a/..", "/a/../", "a/./../.", "../../..", "././/"])
def test_a_key_that_names_the_bucket_is_refused(key: str) -> None:
    with pytest.raises(InvalidObjectKey, match="names the bucket"):
        check_object_key(key)


@pytest.mark.parametrize("key", ["", "k" * 851, "图" * 284, "a\ud800"])
def test_a_key_of_a_length_that_cos_refuses_is_refused(key: str) -> None:
    with pytest.raises(InvalidObjectKey):
        check_object_key(key)


@given(st.text(alphabet=st.sampled_from("ab./"), max_size=12) | st.text(alphabet=st.characters(), max_size=300))
def test_no_accepted_key_normalizes_to_the_bucket(key: str) -> None:
    try:
        check_object_key(key)
    except InvalidObjectKey:
        return
    assert posixpath.normpath("/" + key.strip("/")) != "/"
    assert 1 <= len(key.encode()) <= 850
