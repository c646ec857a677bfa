"""wrk on its own core, requesting many images in turn."""

import http.client
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import CLIENT_CORE, Contender
from bench.stack import COUNTS, SIZES

CONNECTIONS = 32
_TRIES = 3
_LARGE = 1_000_000
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# Requests each image in turn: concurrent requests for one image would share one transfer.
_SCRIPT = """
local n = 0
local headers = {{{headers}}}
local suffixes = {{{suffixes}}}
request = function()
    n = n + 1
    return wrk.format("GET", "{path}" .. (n % {count}) .. (suffixes[n % {count} + 1] or "{suffix}"), headers)
end
"""
_POST = """
local whole
init = function()
    whole = wrk.format("POST", "{path}", {{{headers}}}, [[{body}]])
end
request = function() return whole end
"""


def rate(contender: Contender, size: str, seconds: int, folder: Path, *, per_cpu: bool = False) -> float:
    """Return the images served per second, or per second of the server's processor time with ``per_cpu``.

    Large images are counted by the bytes received, so that unfinished ones count in part. A server that got no
    processor time is measured again. Raises ``RuntimeError`` after a response that is not 2xx or 3xx, a connection
    error, or three measurements without processor time.
    """
    for _ in range(_TRIES):
        before = contender.cpu_seconds()
        images, passed = _answered(contender, size, seconds, folder)
        used = contender.cpu_seconds() - before
        if images and used:
            return images / (used if per_cpu or contender.per_cpu else passed)
    raise RuntimeError(f"{contender.prefix}{size}: the server got no processor time")


def _answered(contender: Contender, size: str, seconds: int, folder: Path) -> tuple[int, float]:
    """Return how many images were served, and in how many seconds.

    Raises ``RuntimeError`` after a response that is not 2xx or 3xx, or a lost connection.
    """
    prefix = contender.prefix
    base, _, path = prefix.removeprefix("http://").partition("/")
    script = folder / "script.lua"
    script.write_text(_script(contender, f"/{path}", size))
    command = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script)]
    output = subprocess.run([*command, f"http://{base}"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or re.search(r"(connect|read|write) [1-9]", output):
        raise RuntimeError(f"{prefix}{size}: {output}")
    done = re.search(r"([0-9]+) requests in ([0-9.]+)s, ([0-9.]+)([KMG]?)B read", output)
    if done is None:
        raise RuntimeError(output)
    images = int(done[1]) * contender.images
    if SIZES[size] >= _LARGE:
        images = int(float(done[3]) * _UNITS[done[4]] / SIZES[size])
    return images, float(done[2])


def fill(contender: Contender, size: str) -> None:
    """Request every image once, and the first one again, so that caches are full.

    Raises ``RuntimeError`` if an answer has another status or length than it should, or the last one is not from the
    cache.
    """
    address = urlsplit(contender.prefix)
    connection = http.client.HTTPConnection(address.netloc, timeout=60)
    for number in (*range(1 if contender.body else COUNTS[size]), 0):
        suffix = contender.suffixes[number] if contender.suffixes else contender.suffix
        path = address.path if contender.body else f"{address.path}{size}-{number}{suffix}"
        connection.request("POST" if contender.body else "GET", path, contender.body or None, dict(contender.headers))
        answer = connection.getresponse()
        body = answer.read()
        is_image = answer.status == http.HTTPStatus.OK and answer.headers.get_content_maintype() == "image"
        if answer.status != contender.status or (is_image and len(body) != SIZES[size]):
            raise RuntimeError(f"{contender.prefix} {path}: {answer.status}, {len(body)} bytes")
    last = (answer.headers.get_all("Cache-Status") or [""])[-1]
    if contender.cache_status not in last:
        raise RuntimeError(f"{contender.prefix} {path}: not from the cache, but {last}")
    connection.close()


def _script(contender: Contender, path: str, size: str) -> str:
    headers = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in contender.headers.items())
    if contender.body:
        return _POST.format(path=path, headers=headers, body=contender.body)
    return _SCRIPT.format(
        path=f"{path}{size}-",
        count=COUNTS[size],
        suffix=contender.suffix,
        suffixes=", ".join(map(json.dumps, contender.suffixes)),
        headers=headers,
    )
