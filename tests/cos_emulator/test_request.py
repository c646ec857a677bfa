"""Parsing of request targets and hosts."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from gateway_dev.cos_emulator.request import parse_request, without_port

NO_HEADERS: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("/a.png", "a.png"),
        ("/a%20b+c%25d", "a b+c%d"),
        ("/%252F", "%2F"),
        ("/a%2Fb", "a/b"),
        ("/a/../b/./c//d", "a/../b/./c//d"),
        ("//a", "/a"),
        ("/a#b", "a#b"),
        ("/%E5%9B%BE", "图"),
        ("/图", "图"),
        ("/\udce5%9B\udcbe", "图"),
        ("/%FF", "\udcff"),
        ("/%zz%", "%zz%"),
        ("/%00%0D%0A", "\0\r\n"),
        ("http://other:80/a%20b?x=1", "a b"),
        ("HTTPS://other", ""),
    ],
)
def test_keys_are_decoded_once_and_never_folded(target: str, key: str) -> None:
    assert parse_request("GET", target, NO_HEADERS).key == key


def test_a_query_keeps_order_repeats_and_semicolons() -> None:
    request = parse_request("GET", "/k?a=1;2&b&a=%2B+%E5%9B%BE&=x&&c?d=e=f", NO_HEADERS)
    assert request.query == (("a", "1;2"), ("b", ""), ("a", "+ 图"), ("", "x"), ("c?d", "e=f"))
    assert request.first("a") == "1;2"
    assert request.first("z") is None


@pytest.mark.parametrize(
    ("host", "name"),
    [("b.cos.local:9000", "b.cos.local"), ("b.cos.local", "b.cos.local"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]")],
)
def test_the_port_is_removed_from_the_host(host: str, name: str) -> None:
    assert without_port(host) == name


def test_hosts_are_lower_case() -> None:
    headers = CIMultiDictProxy(CIMultiDict({"Host": "B-125.COS.Local:9000"}))
    assert parse_request("GET", "/", headers).host == "b-125.cos.local"
