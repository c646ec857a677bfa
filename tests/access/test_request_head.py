"""``X-Original-URI`` counts for the image that a proxy asks about, and for no other."""

import pytest
from multidict import CIMultiDict

from gateway.access.request_head import ORIGINAL_URI, is_address_of, original_address
from gateway.errors import Unauthorized


def of(uri: str, image_id: str = "a") -> tuple[str, list[tuple[str, str]]] | None:
    """Return the path and the query that count for the image."""
    address = original_address(CIMultiDict({ORIGINAL_URI: uri}))
    if address is None or not is_address_of(address.path, image_id):
        return None
    return address.path, list(address.query.items())


@pytest.mark.parametrize(
    ("uri", "path", "query"),
    [
        ("/i/a", "/i/a", []),
        ("/i/a?", "/i/a", []),
        ("/i/a?kid=k&exp=1&sig=s", "/i/a", [("kid", "k"), ("exp", "1"), ("sig", "s")]),
        ("/api/v1/images/a/proxy?kid=k", "/api/v1/images/a/proxy", [("kid", "k")]),
        ("/i/a?kid=k&kid=l&sig=", "/i/a", [("kid", "k"), ("kid", "l"), ("sig", "")]),
        ("/i/a?k%69d=%6B", "/i/a", [("kid", "k")]),
        ("/i/%61?kid=k", "/i/%61", [("kid", "k")]),  # the path is kept as it was sent: links sign it
        ("/i/a?kid=k?x", "/i/a", [("kid", "k?x")]),
    ],
)
def test_an_address_of_the_image_is_its_path_and_query(uri: str, path: str, query: list[tuple[str, str]]) -> None:
    assert of(uri) == (path, query)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/",
        "/i/",
        "/i/b",
        "/i/ab",
        "/i/A",
        "/i/a/",
        "//i/a",
        "/i//a",
        "/i/b/../a",
        "/i/%2561",
        "i/a",
        "?/i/a",
        "http://gateway/i/a",
        "/api/v1/images/a/url",
        "/api/v1/images/a/access",
        "/api/v1/images/b/proxy",
        "/i/a\udcff",
        "/i/%ff",
        " /i/a",
        "/i/a#",
    ],
)
def test_any_other_address_says_nothing_about_the_image(uri: str) -> None:
    assert of(f"{uri}?kid=k&exp=1&sig=s") is None
    assert of(uri) is None
    assert of(f"/i/a?kid=k#{uri}") is None


def test_without_the_field_there_is_no_original_address() -> None:
    assert original_address(CIMultiDict()) is None


def test_a_repeated_field_is_a_bad_credential() -> None:
    with pytest.raises(Unauthorized):
        original_address(CIMultiDict([(ORIGINAL_URI, "/i/a?kid=k"), (ORIGINAL_URI.lower(), "/i/a")]))
