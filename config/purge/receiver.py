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
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from threading import BoundedSemaphore, Timer
from typing import Any

CONNECTIONS = 32  # at a time; others wait to be accepted
SECONDS = 10.0  # for a whole request to arrive
LONGEST = 1_000_000  # bytes of a body; a purge has fewer

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

    def setup(self) -> None:
        """Disconnect a client whose request does not arrive in time."""
        super().setup()
        self.limit = Timer(SECONDS, self.disconnect)
        self.limit.daemon = True
        self.limit.start()

    def finish(self) -> None:
        """End the time limit with the connection."""
        self.limit.cancel()
        with suppress(ConnectionError):
            super().finish()

    def disconnect(self) -> None:
        """End what the thread of this connection waits for."""
        with suppress(OSError):
            self.connection.shutdown(SHUT_RDWR)

    def do_POST(self) -> None:
        """Pass one purge on."""
        expected = f"Bearer {os.environ['PURGE_TOKEN']}"
        if not hmac.compare_digest(self.headers.get("Authorization", "").encode(), expected.encode()):
            return self.send_error(403)
        try:
            length = int(self.headers["Content-Length"])
            if not 0 <= length <= LONGEST:
                return self.send_error(400)
            purge: Purge = json.loads(self.rfile.read(length))
            self.limit.cancel()  # the caches have limits of their own
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


class Server(ThreadingHTTPServer):
    """A thread for each connection, of which there are at most ``CONNECTIONS``."""

    daemon_threads = True
    places = BoundedSemaphore(CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Wait for a place, and start a thread."""
        self.places.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Give the place back after the connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.places.release()


KINDS: dict[str, Any] = {"varnish": varnish, "squid": squid, "fastly": fastly}
CACHES = [(KINDS[kind], address) for kind, _, address in (argument.partition("=") for argument in sys.argv[2:])]

if __name__ == "__main__":
    host, _, port = sys.argv[1].rpartition(":")
    Server((host, int(port)), Receiver).serve_forever()
