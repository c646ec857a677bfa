"""Replacement for curl on machines without it, with the options that the README uses."""

import argparse
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPResponse
from pathlib import Path


def main(arguments: Sequence[str]) -> None:
    """Send one request; print headers to standard output (``-D -``), the body to ``-o`` or standard output."""
    parser = argparse.ArgumentParser("curl")
    parser.add_argument("url")
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-D", dest="dump", choices=["-"])
    parser.add_argument("-o", dest="output", type=Path)
    parser.add_argument("-w", dest="write", default="")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    options = parser.parse_args(arguments)
    headers = dict(header.split(": ", 1) for header in options.headers)
    request = urllib.request.Request(options.url, method=options.method, headers=headers)  # noqa: S310 - a local gateway
    try:
        response: HTTPResponse | urllib.error.HTTPError = urllib.request.urlopen(request, timeout=60)  # noqa: S310
    except urllib.error.HTTPError as error:
        response = error
    with response:
        body = response.read()
        if options.dump:
            sys.stdout.write("".join(f"{name}: {value}\r\n" for name, value in response.headers.items()))
        if options.output is not None:
            options.output.write_bytes(body)
        else:
            sys.stdout.write(body.decode())
        sys.stdout.write(options.write.replace("%{http_code}", str(response.status)).replace("\\n", "\n"))


if __name__ == "__main__":
    main(sys.argv[1:])
