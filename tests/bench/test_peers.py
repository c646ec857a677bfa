"""The configurations of nginx that a benchmark compares: the shipped files as they are, and a given one."""

from pathlib import Path

import pytest

from bench.peers import S3Gateway, accel_conf, described, gateway_conf, with_njs
from bench.stack import Gateway

_ORIGIN = "http://127.0.0.1:9999"
_PATH = Path("/etc/nginx/nginx.conf")


def lines(text: str) -> set[str]:
    """Return the directives, without indentation and comments."""
    return {line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")}


def test_accel_conf_gets_its_upstreams_and_keeps_its_cache() -> None:
    text = lines(accel_conf("127.0.0.1:8123", _ORIGIN, has_cache=True))
    assert {"server 127.0.0.1:8123 max_fails=0;", "server 127.0.0.1:9999;", "proxy_cache cos;"} <= text


def test_accel_conf_without_a_cache_differs_in_one_line() -> None:
    cached = lines(accel_conf("127.0.0.1:8123", _ORIGIN, has_cache=True))
    plain = lines(accel_conf("127.0.0.1:8123", _ORIGIN, has_cache=False))
    assert cached - plain == {"proxy_cache cos;"}
    assert plain - cached <= {"proxy_cache off;"}


def test_gateway_conf_gets_its_cache_and_no_tls() -> None:
    text = lines(gateway_conf("127.0.0.1:8123"))
    assert {"server 127.0.0.1:8123 max_fails=0;", "proxy_cache $image_cache;"} <= text
    assert not [line for line in text if "ssl" in line]


def test_the_files_with_njs_name_both_ports_of_every_gateway() -> None:
    behind = [Gateway("127.0.0.1:8123", "127.0.0.1:9123", 1), Gateway("127.0.0.1:8124", "127.0.0.1:9124", 2)]
    text = lines(with_njs("private-cache.conf", *behind))
    assert {f"server 127.0.0.1:{port} max_fails=0;" for port in (8123, 8124, 9123, 9124)} <= text
    assert "include image-gateway/decisions.conf;" in text
    assert not [line for line in text if "8080" in line or "9090" in line]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("listen 8080;", S3Gateway(_PATH, 8080, has_cache=False, is_daemon=True)),
        ("listen 127.0.0.1:81 reuseport; proxy_cache off;", S3Gateway(_PATH, 81, has_cache=False, is_daemon=True)),
        ("daemon off;\nlisten [::]:82;\nproxy_cache s3;", S3Gateway(_PATH, 82, has_cache=True, is_daemon=False)),
        (
            "  # listen 80; proxy_cache a;\nproxy_cache_path /x keys_zone=a:1m;\nlisten 83;",
            S3Gateway(_PATH, 83, has_cache=False, is_daemon=True),
        ),
    ],
)
def test_a_given_configuration_is_read(text: str, expected: S3Gateway) -> None:
    assert described(_PATH, text) == expected


def test_a_configuration_without_a_port_is_refused() -> None:
    with pytest.raises(ValueError, match="names no port"):
        described(_PATH, "proxy_cache off;")
