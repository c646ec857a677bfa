"""A running proxy in front of a gateway, and a client of it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import aiohttp
import yarl

from tests.conftest import Answer
from tests.waiting import until


@dataclass
class Front:
    """A proxy, and a client that neither follows redirects, nor decodes bodies, nor normalizes paths.

    command: starts it. folder: where its files and its output are.
    host: the name of the site, if the proxy needs one.
    path, status: an address that answers as soon as it is ready, with any status if that is None.
    """

    name: str
    url: str
    folder: Path
    command: Sequence[str]
    host: str | None = None
    path: str = "/healthz"
    status: int | None = None
    session: aiohttp.ClientSession = field(init=False)
    process: asyncio.subprocess.Process = field(init=False)

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "output").open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(*self.command, stdout=output, stderr=output)
        await until(self._answers, what=f"an answer of {self.name}")

    async def _answers(self) -> bool:
        assert self.process.returncode is None, (self.folder / "output").read_text()
        try:
            answer = await self.get(self.path)
        except aiohttp.ClientError:
            return False
        return self.status in {None, answer.status}

    async def stop(self, *, kill: bool = False) -> None:
        """Stop it, with all its processes."""
        if self.process.returncode is None:
            # A killed parent would leave its workers, which keep the port.
            workers = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            pids = [self.process.pid, *map(int, workers.read_text().split())] if kill else []
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            if not kill:
                self.process.terminate()
        await self.process.wait()
        self.process._transport.close()  # type: ignore[attr-defined]

    async def restart(self, *, kill: bool = False) -> None:
        """Stop it, and start it again with the same folder and port."""
        await self.stop(kill=kill)
        await self.start()

    async def request(self, method: str, path: str, **headers: str) -> Answer:
        """Send a request. An underscore in the name of a header argument becomes a dash."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.host is not None:
            named = {"Host": self.host, **named}
        url = yarl.URL(self.url + path, encoded=True)
        async with self.session.request(
            method, url, headers=named, allow_redirects=False, ssl=False, server_hostname=self.host
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def get(self, path: str, **headers: str) -> Answer:
        """Send a GET, as ``request`` does."""
        return await self.request("GET", path, **headers)


AnyFront = TypeVar("AnyFront", bound=Front)


@asynccontextmanager
async def running(front: AnyFront) -> AsyncIterator[AnyFront]:
    """Run a proxy."""
    async with aiohttp.ClientSession(auto_decompress=False) as front.session:
        try:
            await front.start()
            yield front
        finally:
            await front.stop()
