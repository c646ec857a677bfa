#!/usr/bin/env python3
"""Receive the purges of the gateway, and pass them on to caches: copy this file, and keep the lines of your caches.

purge: {target: webhook, url: "http://127.0.0.1:8001/", token: …, base_urls: ["http://img.example.com"]}
PURGE_TOKEN=… python3 receiver.py 127.0.0.1:8001 varnish=10.0.0.5:80 squid=10.0.0.6:80
"""

import hmac
import json
import os
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Purge = dict[str, list[str]]  # image_ids, cache_tags, urls


def varnish(purge: Purge) -> Iterator[tuple[str, str, dict[str, str]]]:
    """A BAN for each image, which drops all of its addresses: the VCL of docs/fronts.md."""
    return (("BAN", "/", {"Cache-Tag": tag}) for tag in purge["cache_tags"])


def squid(purge: Purge) -> Iterator[tuple[str, str, dict[str, str]]]:
    """A PURGE for each address of each image."""
    return (("PURGE", url, {}) for url in purge["urls"])


def fastly(purge: Purge) -> Iterator[tuple[str, str, dict[str, str]]]:
    """A CDN's API that knows tags takes one request: not tried."""
    headers = {"Fastly-Key": os.environ["FASTLY_KEY"], "Surrogate-Key": " ".join(purge["cache_tags"])}
    yield "POST", f"/service/{os.environ['FASTLY_SERVICE']}/purge", headers


class Receiver(BaseHTTPRequestHandler):
    """A 204 means that every cache has answered. After a 502 the gateway tries again, after a 400 it gives up."""

    def do_POST(self) -> None:
        """Pass one purge on."""
        expected = f"Bearer {os.environ['PURGE_TOKEN']}"
        if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), expected.encode()):
            return self.send_error(403)
        try:
            purge: Purge = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), 1_000_000)))
            requests = [(cache, *request) for kind, cache in CACHES for request in kind(purge)]
        except (ValueError, KeyError, TypeError):
            return self.send_error(400)
        try:
            for cache, method, target, headers in requests:
                connection = HTTPConnection(cache, timeout=5)
                connection.request(method, target, headers=headers)
                status = connection.getresponse().status
                connection.close()
                if status not in {200, 404}:  # 404: Squid had no copy
                    return self.send_error(502, f"{cache} answered {status}")
        except (OSError, HTTPException) as error:
            return self.send_error(502, type(error).__name__)
        self.send_response(204)
        return self.end_headers()


KINDS: dict[str, Any] = {"varnish": varnish, "squid": squid, "fastly": fastly}
CACHES = [(KINDS[kind], address) for kind, _, address in (argument.partition("=") for argument in sys.argv[2:])]

if __name__ == "__main__":
    host, _, port = sys.argv[1].rpartition(":")
    ThreadingHTTPServer((host, int(port)), Receiver).serve_forever()
