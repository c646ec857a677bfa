"""What `gateway dev` prints: where things are, and lines to try."""

import shlex
import sys
import time
from pathlib import Path

import jwt
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from gateway.api.server import Listening
from gateway.dev.listing import image_address, printable, told, write_listing
from gateway.dev.stack import ADMIN_TOKEN, JWT_SECRET, DevStack

_DAY = 24 * 3600
_SHOWN = 12


def welcome(console: Console, ports: Listening, stack: DevStack) -> None:
    """Print the addresses, curl lines for the first few images, and a signed link."""

    def line(text: str = "", style: str = "") -> None:
        console.print(text, style=style, highlight=False, soft_wrap=True)

    console.print(Rule("image gateway"))
    line(f"gateway  {ports.public}        its API, and the images")
    line(f"admin    {ports.admin}        /metrics, /readyz")
    line(f"cos      {stack.cos.url}        the stand-in for Tencent COS")
    for usual, port in stack.moved.items():
        line(f"port {usual} is not free: {port} is used instead", "yellow")
    line()
    public = [row for row in stack.rows if row.public]
    private = [row for row in stack.rows if not row.public]
    line("open in a browser:" if public else "there are no images to show yet", "bold")
    shown = [(image_address(ports.public, row), row.key) for row in public[:_SHOWN]]
    width = max((len(address) for address, _ in shown), default=0)
    for address, key in shown:
        line(f"  {escape(address):<{width}}   {escape(printable(key))}")
    if len(public) > _SHOWN:
        line(f"  ... and {len(public) - _SHOWN} more")
    if stack.rows:
        write_listing(stack.listing, ports.public, stack.rows)
        line(f"  all {len(stack.rows)}, each with its file and its address: {escape(str(stack.listing))}")
    if stack.left_out:
        line(f"left out: {escape(told(stack.left_out))}", "yellow")
    if public:
        image = f"{ports.public}/api/v1/images/{escape(public[0].image_id)}"
        line("try:", "bold")
        line(f"  curl -o image {image}/proxy")
        line(f"  curl -i '{image}/proxy?redirect=true'")
        line(f"  curl {image}/url")
        line(f"  curl -X POST -H 'Authorization: Bearer {ADMIN_TOKEN}' {image}/url/refresh")
        line(f"  curl {ports.admin}/metrics")
    if private:
        owner = private[0].owner or ""
        line(f"private, for {escape(owner)} alone:", "bold")
        line(f"  TOKEN={token_for(owner)}")
        line(f'  curl -o image -H "Authorization: Bearer $TOKEN" {ports.public}/i/{escape(private[0].image_id)}')
        line(f"  curl -i {ports.public}/i/{escape(private[0].image_id)}        404 without the token")
    if stack.link is not None:
        image_id = stack.link.partition("?")[0].rpartition("/")[2]
        line("a signed link, for whoever has it, for a day; and how to make another:", "bold")
        line(f"  {ports.public}{escape(stack.link)}")
        line(f"  {escape(_this_program())} link {image_id} --config {escape(shlex.quote(str(stack.config)))}")
    line()
    line("Ctrl-C stops everything.")


def _this_program() -> str:
    """How to call the gateway from where this process was called."""
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m gateway"


def token_for(user: str) -> str:
    """A bearer token of the development secret, good for a day."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + _DAY}, JWT_SECRET, algorithm="HS256")
