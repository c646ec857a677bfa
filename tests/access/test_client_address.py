"""The client's address behind proxies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.access.client_address import ClientAddress
from gateway.net.ip_address import parse_ip
from gateway.settings import Live, ServerSettings

ADDRESS = ClientAddress(Live(ServerSettings.model_validate({"trusted_proxies": ["10.0.0.0/8", "fd00::/8"]})))


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.1", "::ffff:192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "198.51.100.1,192.0.2.7 , 10.0.0.2,fd00::2", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "192.0.2.7:4711", "192.0.2.7"),
        ("10.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("10.0.0.1", "[2001:db8::7]", "2001:db8::7"),
    ],
)
def test_the_rightmost_address_that_is_no_trusted_proxy_is_the_client(
    peer: str, forwarded_for: str, client: str
) -> None:
    assert ADDRESS.of({"x-forwarded-for": forwarded_for}, peer) == client


def test_several_fields_are_one_list() -> None:
    headers = CIMultiDict([("X-Forwarded-For", "198.51.100.1"), ("X-Forwarded-For", "192.0.2.7, 10.0.0.2")])
    assert ADDRESS.of(headers, "10.0.0.1") == "192.0.2.7"


@pytest.mark.parametrize("peer", ["192.0.2.1", "2001:db8::1", "127.0.0.1"])
def test_the_header_of_an_untrusted_peer_is_ignored(peer: str) -> None:
    assert ADDRESS.of({"X-Forwarded-For": "198.51.100.1"}, peer) == peer
    assert ClientAddress(Live(ServerSettings())).of({"X-Forwarded-For": "198.51.100.1"}, peer) == peer


@pytest.mark.parametrize(
    "hop", ["unknown", "_hidden", "", "192.0.2", "fe80::1%\x1b[2J", "[fe80::1%eth0]:1", "[", ":", "\udcff"]
)
def test_an_element_without_an_address_leaves_the_proxy_as_the_client(hop: str) -> None:
    assert ADDRESS.of({"X-Forwarded-For": f"198.51.100.1, {hop}"}, "10.0.0.1") == "10.0.0.1"
    assert ADDRESS.of({"X-Forwarded-For": f"{hop}, 10.0.0.2"}, "10.0.0.1") == "10.0.0.2"


def test_without_the_header_the_proxy_is_the_client() -> None:
    assert ADDRESS.of({}, "10.0.0.1") == "10.0.0.1"


@pytest.mark.parametrize("peer", ["", "/run/gateway.sock", None])
def test_a_unix_socket_has_no_client_address(peer: str | None) -> None:
    assert ADDRESS.of({"X-Forwarded-For": "192.0.2.7"}, peer) is None


@given(forwarded_for=st.text() | st.text(alphabet="0123456789abcdef.:,[]% "))
def test_the_result_is_an_address_whatever_the_header_contains(forwarded_for: str) -> None:
    address = ADDRESS.of({"X-Forwarded-For": forwarded_for}, "10.0.0.1")
    assert address is not None
    assert "%" not in address
    assert str(parse_ip(address)) == address
