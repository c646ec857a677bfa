"""Output of `gateway dev`: addresses, commands to try, tokens and signed links."""

import shlex
import sys
from itertools import cycle
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from gateway.net.printable import printable
from gateway.server.listener import Listening
from gateway_dev.id_list import describe_left_out, image_address, write_id_list
from gateway_dev.stack import ADMIN_TOKEN, DevStack
from gateway_dev.styles import EXAMPLES, TEASER
from gateway_dev.tokens import token_for

_ADDRESSES_PRINTED = 12
_VECTOR = "image/svg+xml"  # COS does not process it
_WIDEST = 60  # characters; a longer address has a line that is wider than the others


def welcome(console: Console, ports: Listening, stack: DevStack) -> None:
    """Print the addresses, commands for the first image, and a token and a link for each private image."""

    def line(text: str = "", style: str = "") -> None:
        console.print(text, style=style, highlight=False, soft_wrap=True)

    console.print(Rule("image gateway"))
    line(f"playground  {ports.public}/       try images, and break things")
    line(f"gateway     {ports.public}        its API, and the images")
    line(f"console     {ports.admin}/       what is wrong now, and why; its token is {ADMIN_TOKEN}")
    line(f"admin       {ports.admin}        /docs, /metrics, /readyz")
    line(f"cos         {stack.cos.url}        the Tencent COS emulator")
    for usual, port in stack.moved.items():
        line(f"port {usual} is not free: {port} is used instead", "yellow")
    line()
    public = [row for row in stack.rows if row.public]
    private = [row for row in stack.rows if not row.public]
    line("open in a browser:" if public else "there are no images to show yet", "bold")
    addresses = [(image_address(ports.public, row), row.key) for row in public[:_ADDRESSES_PRINTED]]
    width = min(max((len(address) for address, _ in addresses), default=0), _WIDEST)
    for address, key in addresses:
        line(f"  {escape(address):<{width}}   {escape(printable(key))}")
    if len(public) > _ADDRESSES_PRINTED:
        line(f"  ... and {len(public) - _ADDRESSES_PRINTED} more")
    if stack.rows:
        write_id_list(stack.id_list, ports.public, stack.rows)
        line(f"  all {len(stack.rows)}, each with its file and its address: {escape(str(stack.id_list))}")
    if public:
        line("in a style:", "bold")
        pictures = cycle([row for row in public if row.content_type != _VECTOR])
        for row, query in zip(pictures, EXAMPLES, strict=False):
            line(f"  {escape(image_address(ports.public, row))}?{query}")
    if stack.left_out:
        line(f"left out: {escape(describe_left_out(stack.left_out))}", "yellow")
    if public:
        path = f"/api/v1/images/{escape(public[0].image_id)}"
        image = f"{ports.public}{path}"
        line("try:", "bold")
        line(f"  curl -o image {image}/proxy")
        line(f"  curl -i '{image}/proxy?redirect=true'")
        line(f"  curl {image}/url")
        line(f"  curl -X POST -H 'Authorization: Bearer {ADMIN_TOKEN}' {ports.admin}{path}/url/refresh")
        line(f"  curl {ports.admin}/metrics")
    if private:
        line("private; without the owner's token the answer is 404:", "bold")
        owned = [(image_address(ports.public, row), row.owner or "") for row in private]
        width = max(len(address) for address, _ in owned)
        for address, owner in owned:
            line(f"  {escape(address):<{width}}   {escape(owner)}'s")
        line(f"  {escape(owned[0][0])}?{TEASER}   a style that everybody may see")
        for owner in dict.fromkeys(owner for _, owner in owned):
            line(f"  {_variable(owner)}={token_for(owner)}")
            address = next(address for address, other in owned if other == owner)
            line(f'  curl -o image -H "Authorization: Bearer ${_variable(owner)}" {escape(address)}')
    if stack.links:
        line("signed links, valid for a day without a token, and the command that makes another one:", "bold")
        for link in stack.links.values():
            line(f"  {ports.public}{escape(link)}")
        config = escape(shlex.quote(str(stack.config)))
        line(f"  {escape(_this_program())} link {escape(next(iter(stack.links)))} --config {config}")
    line()
    line("Ctrl-C stops everything.")


def _variable(owner: str) -> str:
    """Return the name of the shell variable for the token of this owner."""
    return f"{owner.upper()}_TOKEN"


def _this_program() -> str:
    """Return the command that runs the gateway from the current folder."""
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m gateway"
