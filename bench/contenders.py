"""Servers to compare: each runs on the first core, in front of one origin on the second."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace

from bench.processes import SERVER_CORE, Contender, nginx, pinned
from bench.stack import COOKIE, COUNTS, PRIVATE, Gateway, Stack, etag, gateway, link_suffix, owner_token
from gateway_dev.processes import free_port

BATCH = 200  # ids, the most that the batch call takes

MODES: dict[str, dict[str, object]] = {
    "stream": {"memory_cache": {"max_bytes": 0}},
    # large enough for all images of 10 MB
    "memory": {"memory_cache": {"ttl": 600, "max_bytes": 1 << 30, "max_object_bytes": 1 << 24}},
    "redirect": {"delivery": "redirect"},
}

# What is measured of the gateway in each mode.
NAMES = {
    "stream": ("stream",),
    "memory": ("memory", "variant", "304", "range", "by token", "by cookie", "by link"),
    "redirect": ("redirect", "url", "batch"),
}


@contextlib.contextmanager
def gateways_and_baselines(stack: Stack) -> Iterator[dict[str, Contender]]:
    """Run the gateway in three modes, nginx and the bare server; yield them by name."""
    with contextlib.ExitStack() as servers:
        running = {"origin": Contender(f"{stack.origin}/", stack.origin_pid)}
        running |= servers.enter_context(_baselines(stack))
        for name, image_proxy in MODES.items():
            running |= modes_of(
                name, servers.enter_context(gateway(stack, name, image_proxy, has_callers=name == "memory")), stack
            )
        yield running


def modes_of(name: str, started: Gateway, stack: Stack) -> dict[str, Contender]:
    """Return what is measured of the gateway in the mode ``name``, by its name in ``NAMES``."""
    images = Contender(f"http://{started.address}/i/", started.pid, status=302 if name == "redirect" else 200)
    match name:
        case "memory":  # the origin ignores the rule: a variant is as large as its original
            variant = replace(images, suffix="?style=card&w=640&format=webp")
            unchanged = replace(images, headers={"If-None-Match": etag("4k")}, status=304)
            private = replace(images, prefix=f"{images.prefix}{PRIVATE}")
            links = tuple(link_suffix(f"{PRIVATE}4k-{number}") for number in range(COUNTS["4k"]))
            return {
                name: images,
                "variant": variant,
                "304": unchanged,
                "range": replace(images, headers={"Range": "bytes=0-1023"}, status=206),
                "by token": replace(private, headers={"Authorization": f"Bearer {owner_token()}"}),
                "by cookie": replace(private, headers={"Cookie": f"{COOKIE}={owner_token()}"}),
                "by link": replace(private, suffixes=links),
            }
        case "redirect":
            return {name: images, **_urls(started, stack)}
        case _:
            return {name: images}


def _urls(started: Gateway, stack: Stack) -> dict[str, Contender]:
    images = f"http://{started.address}/api/v1/images/"
    ids = stack.names[:BATCH]
    return {
        "url": Contender(images, started.pid, "/url"),
        "batch": Contender(
            f"{images}urls",
            started.pid,
            headers={"Content-Type": "application/json"},
            body=json.dumps({"image_ids": ids}),
            images=len(ids),
        ),
    }


@contextlib.contextmanager
def _baselines(stack: Stack) -> Iterator[dict[str, Contender]]:
    proxy, bare = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    arguments = (bare.rpartition(":")[2], stack.origin, str(stack.folder / "images"))
    command = (sys.executable, "-m", "bench.bare", *arguments)
    http = relay(stack.origin, proxy, "")
    with (
        nginx(stack.folder, "proxy", SERVER_CORE, http, f"{proxy}/4k-0") as nginx_pid,
        pinned(SERVER_CORE, *command, ready=f"{bare}/memory/4k-0") as bare_pid,
    ):
        yield {
            "nginx": Contender(f"{proxy}/", nginx_pid),
            "bare relay": Contender(f"{bare}/relay/", bare_pid),
            "bare bytes": Contender(f"{bare}/memory/", bare_pid),
            "bare 302": Contender(f"{bare}/redirect/", bare_pid, status=302),
            "bare 304": Contender(f"{bare}/not-modified/", bare_pid, headers={"If-None-Match": etag("4k")}, status=304),
        }


def relay(origin: str, address: str, more: str) -> str:
    """Return the ``http`` block of an nginx that fetches from the origin, with ``more`` directives."""
    return (
        f"upstream o {{ server {origin[7:]}; keepalive 64; }} server {{ listen {address[7:]}; location / {{ "
        'proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection ""; '
        f"proxy_max_temp_file_size 0; {more} }} }}"
    )
