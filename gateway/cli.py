"""The command group of ``python -m gateway`` and ``image-gateway``."""

import io
import sys

import click

from gateway.commands.check import check
from gateway.commands.dev import dev
from gateway.commands.explain import explain
from gateway.commands.link import link
from gateway.commands.queue import queue
from gateway.commands.serve import serve
from gateway.commands.sql import sql
from gateway.commands.url import url
from gateway.commands.warm import warm


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="image-gateway")
def main() -> None:
    """Give every private image in Tencent COS one address that never expires."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files and images may contain any character


for command in (serve, dev, check, explain, queue, warm, url, link, sql):
    main.add_command(command)
