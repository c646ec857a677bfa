"""Load of all kinds with faults at random, for minutes or hours.

    python -m bench.soak [--minutes 10] [--rate 60] [--concurrent 40] [--replicas 2] [--seed N] [--keep FOLDER]

Starts a Redis Cluster, PostgreSQL, the COS emulator, a metadata service that rotates credentials, gateways with two
workers each, nginx with njs in front of them, and Chromium and Firefox, which read the playground through nginx. Every
byte of every answer is compared. While a fault is active, and for twelve seconds afterwards, requests may be refused,
answered with 502, 503 or 504, or cut; wrong bytes, another status, and failures without a fault are wrong at any time.
The first gateway is never killed: its memory and its open files must stay flat. At the end no entry is near its end,
nothing is dead, and no log has a secret. While the machine is busy with other work, no time-out says anything: a
request that fails is then no error. The report says for how long that was.

Exits with 1 if anything is wrong. The same seed gives the same faults in the same order.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from bench.processes import NJS, nginx_binary
from bench.soak.faults import FAULTS, SETTLING, Schedule
from bench.soak.load import Load
from bench.soak.readers import Readers, running_windows
from bench.soak.stack import TTL, WORKERS, Stack, running_stack
from bench.soak.watch import Watch, overdue, suspicious_lines
from gateway_dev.processes import ServerError
from tests.web.browser import chromium_path
from tests.web.windows import firefox_path

WARM_UP = 20.0  # seconds before the first fault
MOST_GROWTH = 1.2  # of memory and of open files
MOST_LISTED = 20  # wrong answers that are printed


async def inject_faults(stack: Stack, load: Load, chance: random.Random, until: float) -> None:
    """Inject one fault after another, with calm between them; each of them once before any comes again."""
    await asyncio.sleep(WARM_UP)
    names: list[str] = []
    while True:
        if not names:
            names = chance.sample(sorted(FAULTS), len(FAULTS))
        name, seconds = names.pop(), chance.uniform(2, 10)
        if time.monotonic() + seconds + 2 * SETTLING > until:
            return
        # The first replica is watched from the beginning to the end.
        replica = chance.choice(stack.replicas[1:])
        so_far = f"{load.kinds.total()} requests, {load.excused.total()} failed, {len(load.wrong)} wrong"
        print(f"{time.strftime('%H:%M:%S')} {so_far}; {name} for {seconds:.0f} s", flush=True)
        began = time.monotonic()
        try:
            async with load.schedule.active(name), FAULTS[name](stack, replica, chance):
                await asyncio.sleep(seconds)
        except (AssertionError, ServerError, TimeoutError) as error:
            load.add_failed(f"{name}: {type(error).__name__} {error}", began)
        if replica.has_ended:
            load.add_failed(f"{replica.name} has ended by itself", began)
            async with load.schedule.active("a gateway ended"):
                await replica.start()
        await asyncio.sleep(SETTLING + chance.uniform(3, 10))


async def soak(options: argparse.Namespace, folder: Path) -> bool:
    """Run the soak and print the report; return whether all was well."""
    chance, schedule = random.Random(options.seed), Schedule()  # noqa: S311 - the same seed gives the same faults
    timeout = aiohttp.ClientTimeout(total=90, sock_read=30)
    async with (
        running_stack(folder, options.replicas) as stack,
        running_windows() as windows,
        aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(limit=0), auto_decompress=False
        ) as session,
    ):
        load = Load(stack, schedule, session, random.Random(options.seed))  # noqa: S311
        readers = Readers(stack, load, random.Random(options.seed))  # noqa: S311
        watch = Watch(stack.replicas[0], schedule)
        watching = [
            asyncio.create_task(watch.run(), name="watch"),
            asyncio.create_task(schedule.watch_machine(), name="watch-machine"),
        ]
        began = time.monotonic()
        until = began + options.minutes * 60
        async with asyncio.TaskGroup() as group:
            group.create_task(inject_faults(stack, load, chance, until), name="faults")
            group.create_task(load.change_rows(until), name="changes")
            group.create_task(load.run(until, options.rate, options.concurrent), name="load")
            for name, window in windows.items():
                group.create_task(readers.read(name, window, until), name=name)
        for task in watching:
            task.cancel()
        wrong = load.wrong
        if not schedule.was_busy(until - TTL, until):
            wrong += await overdue(stack)
    wrong += suspicious_lines(stack)
    for what, growth in zip(("memory", "open files"), watch.growth(), strict=True):
        if growth > MOST_GROWTH:
            wrong.append(f"{what} grew to {growth:.2f} of what it was")
    _report(options, load, schedule, watch, readers)
    for line in wrong[:MOST_LISTED]:
        print("WRONG", line)
    print(f"{len(wrong)} things are wrong" if wrong else "nothing is wrong")
    return not wrong


def _report(options: argparse.Namespace, load: Load, schedule: Schedule, watch: Watch, readers: Readers) -> None:
    faults = [name for name, _, _ in schedule.periods]
    print(f"{options.minutes:g} minutes, {options.replicas} gateways of {WORKERS} workers, seed {options.seed}")
    print(f"{load.kinds.total()} requests, {load.received / 1e9:.2f} GB compared:")
    for kind, count in load.kinds.most_common():
        print(f"  {count:9} {kind}")
    print(f"{readers.pictures} pictures compared in browsers, of {len(readers.shown)} kinds")
    print(f"{len(faults)} faults: " + ", ".join(f"{faults.count(name)} x {name}" for name in sorted(set(faults))))
    excused = ", ".join(f"{count} x {what}" for what, count in load.excused.most_common())
    print(f"{load.excused.total()} requests failed during faults: {excused}")
    busy = sum(ended - began for began, ended in schedule.busy)
    print(f"the machine was too busy for {busy:.0f} s: requests that failed then are among these")
    memory, files = watch.growth()
    print(f"memory of the first gateway: {watch.most_memory() / 2**20:.0f} MiB at most, grown to {memory:.2f}")
    print(f"open files of the first gateway: {watch.most_descriptors()} at most, grown to {files:.2f}")


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=60, help="requests a second")
    parser.add_argument("--concurrent", type=int, default=40, help="requests at once")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--keep", type=Path, default=None, help="a folder for logs and data, kept afterwards")
    options = parser.parse_args()
    if options.replicas < 2:
        parser.error("--replicas: at least 2, because one is killed")
    programs = (*NJS, Path(nginx_binary()), Path(chromium_path() or "chromium"), Path(firefox_path() or "firefox-esr"))
    if missing := [path.name for path in programs if not path.exists()]:
        sys.exit(f"{', '.join(missing)} missing: apt-get install nginx libnginx-mod-http-js chromium firefox-esr")
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1_000_000)
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        is_well = asyncio.run(soak(options, options.keep))
    else:
        with tempfile.TemporaryDirectory(prefix="image-gateway-soak-") as folder:
            is_well = asyncio.run(soak(options, Path(folder)))
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
