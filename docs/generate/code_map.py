"""Code map: every module of both packages with the first line of its docstring."""

import ast
from pathlib import Path
from typing import Final

# Who has read these rooms, in this order, has understood the product.
WAY_OF_A_REQUEST: Final = {
    "": "the command line",
    "service": "composition: opens every component in its order; reload",
    "commands": "one file a command",
    "settings": "YAML, environment and secrets directory -> validated, frozen settings",
    "server": "listener, connection, dispatch: the only place that touches aiohttp's private state",
    "api": "routes and handlers",
    "access": "who asks, and may they",
    "delivery": "the rules of a request; bytes to the client: relay, redirect, accel; preconditions, ranges, headers",
    "urls": "the life of a presigned URL: cache tiers, resolver, renewal, invalidation",
    "catalog": "Postgres: image id -> row; the change feed",
    "presign": "presigned URLs: credentials, hosts, signature, lifetime, COS's clock",
    "redis_connection": "Redis on one server, behind Sentinel, or as a Cluster: clients, shards, scripts, keys",
    "redis_entries": "what Redis keeps of images: URLs, metadata, uses, statistics",
    "objects": "bytes of images: memory, one transfer for many requests, resumption, renditions",
    "origin": "requests to COS: connections, retries, errors and what they mean, pauses after failures",
    "errors": "one class per outcome that a client can see",
    "net": "addresses, header fields, text that is safe to print, bounded requests, calls of Tencent Cloud's services",
    "concurrency": "time limits, circuit breaker, single flight, background tasks",
    "metrics": "the registry and its kinds of collectors; what is read from them",
}
WHAT_KEEPS_IT_RIGHT: Final = {
    "changes": "what has changed, and who has heard of it: the log, heartbeats, the list for nginx; no I/O",
    "redis_replicas": "what replicas say to each other through Redis: invalidations, questions, points, canary rounds",
    "redis_queue": "queues in Redis with leases: renewals and purges",
    "purge": "changes reach the edge: the worker that tells caches in front",
    "findings": "what can be found wrong: the catalogue as data, from which every surface takes its words",
    "monitoring": "health, history, symptoms, lag of the loop, probes, watch over the trigger",
    "process": "event loop, log, memory, service manager",
}
# Without any of them the gateway serves images: a test takes each out.
MAY_BE_TAKEN_OUT: Final = {
    "workers": "`serve --workers N`: the supervisor of N processes on one port",
    "canary": "asks for images through the fronts as users do: rules, client, shared rounds",
    "checks": "what `check` tries, and the probes of a real bucket",
    "explain": "what `explain` says about one image",
    "tracing": "spans for OpenTelemetry",
}
ROOMS: Final = {**WAY_OF_A_REQUEST, **WHAT_KEEPS_IT_RIGHT, **MAY_BE_TAKEN_OUT}
# The same for `image-gateway-dev`.
DEV_ROOMS: Final = {
    "": "the embedded stack: servers from wheels, sample images, the playground",
    "cos_emulator": "a server that behaves as COS does; imports nothing of the gateway",
}


_README: Final = """# Rooms of the gateway

One line a folder. [The code map](../docs/code-map.md) has every module. `make docs` writes this page. Scripts that run
inside nginx are in [`config/nginx/image-gateway`](../config/nginx/image-gateway), their tests in `tests/njs`.
"""

_HEAD: Final = """# Code map

Every module of `gateway` and of `gateway_dev`, with the first line of its docstring. `make docs` writes this page.
[architecture.md](architecture.md) explains how they work together.
"""


def modules(package: Path, room: str) -> list[Path]:
    """Return the modules of a room, those of its subpackages included; "" is the package itself."""
    found = package.glob("*.py") if not room else (package / room).rglob("*.py")
    return sorted(path for path in found if path.name != "__init__.py" or path.read_text(encoding="utf-8").strip())


def code_map(root: Path) -> str:
    """Return the page: a table for each room."""
    rooms = [(root / "gateway", room, purpose) for room, purpose in ROOMS.items()]
    rooms += [(root / "gateway_dev", room, purpose) for room, purpose in DEV_ROOMS.items()]
    parts = [_HEAD]
    for package, room, purpose in rooms:
        title = f"{package.name}/{room}" if room else package.name
        lines = [f"## {title}\n", f"{purpose[0].upper()}{purpose[1:]}.\n", "| module | |", "| --- | --- |"]
        for path in modules(package, room):
            name = path.relative_to(package / room).as_posix()
            lines.append(f"| `{name}` | {_first_line(path)} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def rooms_page() -> str:
    """Return the README of the package: a line for each room."""
    web = {"web": "what browsers load: `<smart-image>`, its adapters for frameworks, the console"}
    return _README + "".join(
        f"\n## {title}\n\n| room | |\n| --- | --- |\n"
        + "".join(f"| `{room or '.'}` | {purpose} |\n" for room, purpose in rooms.items())
        for title, rooms in (
            ("The way of a request", WAY_OF_A_REQUEST),
            ("What keeps it right", WHAT_KEEPS_IT_RIGHT | web),
            ("What may be taken out", MAY_BE_TAKEN_OUT),
        )
    )


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].replace("``", "`").replace("|", "\\|")
