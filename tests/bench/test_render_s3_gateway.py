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


def test_addresses_folders_and_values_are_those_of_the_benchmark(checkout: Path) -> None:
    made, folder = rendered(checkout), checkout.parent / "made"
    for name, texts in {
        "default.conf": (
            "listen 127.0.0.1:9981;",
            f"js_import {folder}/include/s3gateway.js;",
            "proxy_cache_valid 200 302 1h;",
            "limit_except GET HEAD {}",
            "http://storage_urls$s3uri",  # a variable of nginx's own
        ),
        "cache.conf": (f"proxy_cache_path {folder}/s3 max=10g;",),
        "upstreams.conf": ("server 127.0.0.1:9999; keepalive 64;",),
        "nginx.conf": (
            'env "S3_BUCKET_NAME=bench-1250000000";',
            "access_log off;",
            "include       /etc/nginx/mime.types;",
            f"include {folder}/conf.d/*.conf;",
        ),
    }.items():
        assert [text for text in texts if text not in made[name]] == [], name
    assert not {"AWS_ROLE_ARN", "user"} & set(made["nginx.conf"].split())
    plain = rendered(checkout, has_cache=False)
    assert {name for name in made if made[name] != plain[name]} == {"default.conf"}
    assert plain["default.conf"] == made["default.conf"].replace("proxy_cache s3_cache;", "proxy_cache off;")


def test_a_checkout_that_has_changed_is_refused(checkout: Path) -> None:
    (checkout / "oss/etc/nginx/templates/upstreams.conf.template").write_text("upstream storage_urls { }\n")
    with pytest.raises(RuntimeError, match=r"upstreams\.conf has no"):
        rendered(checkout)
