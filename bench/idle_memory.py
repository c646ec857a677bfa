"""Memory of an idle gateway, its time from start to ready, and the memory of its imports.

    python -m bench.idle_memory [--rounds 5] [--settle 3] [--against CHECKOUT] [--imports 25]

`python -m gateway serve` runs on a real Redis and Postgres, with one image in the table. Printed are medians of all
rounds: the resident memory ``--settle`` seconds after the gateway is ready, what of it no other process shares (USS),
the seconds until ``/readyz`` answers 200, and the processor time until then, which other processes disturb less.
``--against`` runs another checkout of the repository in the same rounds, in turn with this one. ``--imports`` prints
as many packages by the resident memory that their import added in a separate process; it goes to the package whose
import came first, so what several need counts in one of them.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.databases import running_databases, write_configuration
from bench.processes import free_port
from gateway_dev.database import ImageRow

_HERE: Final = Path(__file__).parent.parent
_READY_WITHIN: Final = 60.0  # seconds
_KIB: Final = 1024

# Prints the memory of each module that a start imports, as JSON: its own, without the modules that it imports.
_IMPORT_COSTS: Final = """
import json, os, sys
from importlib.machinery import ExtensionFileLoader, SourceFileLoader

PAGE = os.sysconf("SC_PAGE_SIZE")
inner, costs = [0], {}

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE

def measured(execute):
    def exec_module(loader, module):
        before = resident()
        inner.append(0)
        try:
            return execute(loader, module)
        finally:
            more = resident() - before
            costs[module.__name__] = more - inner.pop()
            inner[-1] += more
    return exec_module

for loader in (SourceFileLoader, ExtensionFileLoader):
    loader.exec_module = measured(loader.exec_module)
from gateway.cli import main
with open(os.devnull, "w") as nowhere:
    sys.stdout = nowhere
    main(["serve", "--help"], standalone_mode=False)
sys.stdout = sys.__stdout__
print(json.dumps(costs))
"""


@dataclass(frozen=True)
class Sample:
    """One start: MiB resident, MiB that no other process shares, seconds to ready, processor seconds until then."""

    resident: float
    unshared: float
    to_ready: float
    processor: float


def memory_of(pid: int) -> tuple[float, float]:
    """Return the resident and the unshared memory of a process in MiB (proc(5), smaps_rollup)."""
    kib: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        kib[name] = int(value.split()[0])
    return kib["Rss"] / _KIB, (kib["Private_Clean"] + kib["Private_Dirty"]) / _KIB


def processor_seconds_of(pid: int) -> float:
    """Return the processor time that a process has taken, in seconds (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment(bytecode: Path) -> dict[str, str]:
    """Return an environment whose processes keep bytecode in ``bytecode``, as that of an installed package is kept."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPYCACHEPREFIX": str(bytecode)}


def one_start(checkout: Path, configuration: Path, ready: str, settle: float, variables: dict[str, str]) -> Sample:
    """Start the gateway of a checkout, wait until it is ready, and measure it ``settle`` seconds later."""
    began = time.monotonic()
    command = (sys.executable, "-m", "gateway", "serve", "--config", str(configuration))
    process = subprocess.Popen(command, cwd=checkout, env=variables, stderr=subprocess.DEVNULL)
    try:
        while not _is_ready(ready):
            if process.poll() is not None or time.monotonic() - began > _READY_WITHIN:
                raise SystemExit(f"the gateway of {checkout} did not become ready: exit code {process.returncode}")
            time.sleep(0.01)
        to_ready, processor = time.monotonic() - began, processor_seconds_of(process.pid)
        time.sleep(settle)
        return Sample(*memory_of(process.pid), to_ready, processor)
    finally:
        process.terminate()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310 - an address of this machine
            return bool(response.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[tuple[Path, str]]:
    """Run Redis and Postgres; yield the configuration of a gateway and the address of its readiness."""
    row = ImageRow("cat", None, "cat.png", content_type="image/png", public=True)
    with running_databases(folder, [row]) as databases:
        admin = free_port()
        # Nothing answers for COS: an idle gateway asks it for nothing but the time, and is ready without it.
        sections = databases.sections("127.0.0.1:9") | {
            "server": {"host": "127.0.0.1", "port": free_port()},
            "admin": {"port": admin},
            "logging": {"level": "error"},
        }
        yield write_configuration(folder / "gateway.yaml", sections), f"http://127.0.0.1:{admin}/readyz"


def import_costs(variables: dict[str, str]) -> dict[str, float]:
    """Return the MiB that the import of each package added, the largest first; packages of the gateway separately."""
    output = subprocess.run(
        (sys.executable, "-c", _IMPORT_COSTS), cwd=_HERE, env=variables, check=True, capture_output=True, text=True
    ).stdout
    packages: dict[str, float] = {}
    for module, size in json.loads(output).items():
        package = ".".join(module.split(".")[: 2 if module.startswith("gateway.") else 1])
        packages[package] = packages.get(package, 0.0) + size / _KIB / _KIB
    return dict(sorted(packages.items(), key=lambda item: -item[1]))


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle_memory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settle", type=float, default=3, help="seconds between ready and the measurement")
    parser.add_argument("--against", type=Path, help="another checkout, measured in the same rounds")
    parser.add_argument("--imports", type=int, default=25, help="packages to list")
    options = parser.parse_args()
    checkouts = {"this checkout": _HERE} | ({str(options.against): options.against} if options.against else {})
    with tempfile.TemporaryDirectory(prefix="image-gateway-bench-") as name:
        folder = Path(name)
        variables = environment(folder / "bytecode")
        samples: dict[str, list[Sample]] = {checkout: [] for checkout in checkouts}
        with servers(folder) as (configuration, ready):
            for number in range(options.rounds + 1):
                for checkout, path in checkouts.items():
                    sample = one_start(path, configuration, ready, options.settle, variables)
                    if number:  # the first start of each compiles its modules
                        samples[checkout].append(sample)
        print("| gateway | RSS (MiB) | USS (MiB) | start to ready (s) | of the processor (s) |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for checkout, taken in samples.items():
            resident = statistics.median(sample.resident for sample in taken)
            unshared = statistics.median(sample.unshared for sample in taken)
            to_ready = statistics.median(sample.to_ready for sample in taken)
            processor = statistics.median(sample.processor for sample in taken)
            print(f"| {checkout} | {resident:.1f} | {unshared:.1f} | {to_ready:.2f} | {processor:.2f} |")
        print("\n| package | its import added (MiB) |\n| --- | ---: |")
        for package, size in list(import_costs(variables).items())[: options.imports]:
            print(f"| {package} | {size:.1f} |")


if __name__ == "__main__":
    main()
