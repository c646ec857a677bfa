"""The configuration of nginx-s3-gateway that is measured, from a checkout with a few lines of each of its files."""

from pathlib import Path

import pytest

from bench.render_s3_gateway import render

_FILES = {
    "common/etc/nginx/nginx.conf": """user  nginx;
error_log  /dev/stdout info;
pid        /var/run/nginx.pid;
env S3_BUCKET_NAME;
env AWS_ROLE_ARN;
http {
    include       /etc/nginx/mime.types;
    access_log  /var/log/nginx/access.log  main;
    include /etc/nginx/conf.d/*.conf;
}
""",
    "common/etc/nginx/include/s3gateway.js": "export default {};\n",
    "common/etc/nginx/templates/cache.conf.template": "proxy_cache_path /var/cache/nginx/s3 max=$PROXY_CACHE_MAX_SIZE;",
    "common/etc/nginx/templates/default.conf.template": """js_import /etc/nginx/include/s3gateway.js;
server {
    listen       80;
    proxy_cache s3_cache;
    proxy_cache_valid 200 302 ${PROXY_CACHE_VALID_OK};
    location / { proxy_pass http://storage_urls$s3uri; limit_except ${LIMIT_METHODS_TO} {} }
}
""",
    "oss/etc/nginx/templates/upstreams.conf.template": "upstream storage_urls { server ${S3_UPSTREAM} resolve; }\n",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The folder of a checkout."""
    folder = tmp_path / "checkout"
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def rendered(checkout: Path, *, has_cache: bool = True) -> dict[str, str]:
    """Return the text of each file that is written, by its name."""
    conf = render(checkout, checkout.parent / "made", port=9981, origin_port=9999, has_cache=has_cache)
    return {path.name: path.read_text() for path in conf.parent.rglob("*") if path.is_file()}


def test_addresses_and_folders_are_those_of_the_benchmark(checkout: Path) -> None:
    made, folder = rendered(checkout), checkout.parent / "made"
    assert "listen 127.0.0.1:9981;" in made["default.conf"]
    assert f"js_import {folder}/include/s3gateway.js;" in made["default.conf"]
    assert f"proxy_cache_path {folder}/s3 max=10g;" in made["cache.conf"]
    assert "server 127.0.0.1:9999; keepalive 64;" in made["upstreams.conf"]


def test_values_come_from_the_container_and_nginx_s_own_variables_stay(checkout: Path) -> None:
    text = rendered(checkout)["default.conf"]
    assert "proxy_cache_valid 200 302 1h;" in text
    assert "limit_except GET HEAD {}" in text
    assert "http://storage_urls$s3uri" in text


def test_nginx_gets_the_environment_without_one_and_writes_no_access_log(checkout: Path) -> None:
    text, folder = rendered(checkout)["nginx.conf"], checkout.parent / "made"
    assert 'env "S3_BUCKET_NAME=bench-1250000000";' in text
    assert "AWS_ROLE_ARN" not in text
    assert "access_log off;" in text
    assert "user" not in text
    assert "include       /etc/nginx/mime.types;" in text
    assert f"include {folder}/conf.d/*.conf;" in text


def test_without_a_cache_one_line_differs(checkout: Path) -> None:
    cached, plain = rendered(checkout), rendered(checkout, has_cache=False)
    assert {name for name in cached if cached[name] != plain[name]} == {"default.conf"}
    assert plain["default.conf"] == cached["default.conf"].replace("proxy_cache s3_cache;", "proxy_cache off;")


def test_a_checkout_that_has_changed_is_refused(checkout: Path) -> None:
    (checkout / "oss/etc/nginx/templates/upstreams.conf.template").write_text("upstream storage_urls { }\n")
    with pytest.raises(RuntimeError, match=r"upstreams\.conf has no"):
        rendered(checkout)
