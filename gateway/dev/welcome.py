"""What `gateway dev` prints: where things are, and lines to try."""

import shlex
import sys
import time
from pathlib import Path

import jwt
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from gateway.dev.id_list import image_address, printable, told, write_listing
from gateway.dev.stack import ADMIN_TOKEN, JWT_SECRET, DevStack
from gateway.server.listener import Listening

_DAY = 24 * 3600
_SHOWN = 12


def welcome(console: Console, ports: Listening, stack: DevStack) -> None:
    """Print the addresses, curl lines for the first few images, and how to see each private image."""

    def line(text: str = "", style: str = "") -> None:
        console.print(text, style=style, highlight=False, soft_wrap=True)

    console.print(Rule("image gateway"))
    line(f"gateway  {ports.public}        its API, and the images")
    line(f"admin    {ports.admin}        /metrics, /readyz")
    line(f"cos      {stack.cos.url}        the Tencent COS emulator")
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
        line("private, each for its owner alone; without the owner's token the answer is 404:", "bold")
        shown = [(image_address(ports.public, row), row.owner or "") for row in private]
        width = max(len(address) for address, _ in shown)
        for address, owner in shown:
            line(f"  {escape(address):<{width}}   {escape(owner)}'s")
        for owner in dict.fromkeys(owner for _, owner in shown):
            line(f"  {_variable(owner)}={token_for(owner)}")
            address = next(address for address, whose in shown if whose == owner)
            line(f'  curl -o image -H "Authorization: Bearer ${_variable(owner)}" {escape(address)}')
    if stack.links:
        line("signed links, for whoever has them, for a day; and how to make another:", "bold")
        for link in stack.links.values():
            line(f"  {ports.public}{escape(link)}")
        config = escape(shlex.quote(str(stack.config)))
        line(f"  {escape(_this_program())} link {escape(next(iter(stack.links)))} --config {config}")
    line()
    line("Ctrl-C stops everything.")


def _variable(owner: str) -> str:
    """The name of the shell variable that holds the token of that owner, one of the samples' two."""
    return f"{owner.upper()}_TOKEN"


def _this_program() -> str:
    """How to call the gateway from where this process was called."""
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"{shlex.quote(str(python))} -m gateway"


def token_for(user: str) -> str:
    """A bearer token of the development secret, good for a day."""
    return jwt.encode({"sub": user, "exp": int(time.time()) + _DAY}, JWT_SECRET, algorithm="HS256")
