"""``python -m bench``: measures all servers in alternating rounds, and prints medians and ratios."""

import argparse
import asyncio
import sys
from pathlib import Path

from bench import pages
from bench.comparisons import against, chosen
from bench.peers import read_s3_gateway
from bench.picture import svg
from bench.processes import NJS, program
from bench.results import document, results, table, this_run
from bench.rounds import Plan, measure


def main() -> None:
    """Measure, print the table, and write the requested documents."""
    options = _options()
    if options.only == pages.MODE:
        _measure_pages(options.rounds)
        return
    _require_programs()
    try:
        s3_gateways = [read_s3_gateway(path) for path in options.s3_gateway]
    except ValueError as error:
        sys.exit(str(error))
    if options.against is not None:
        comparisons = against(options.only)
    else:
        comparisons = chosen(options.only, {given.name for given in s3_gateways})
    if not comparisons:
        sys.exit(f"no mode has {options.only!r} in its name")
    per_cpu = options.per_cpu or options.against is not None
    run = this_run(sys.argv[1:], rounds=options.rounds, seconds=options.seconds, per_cpu=per_cpu)
    plan = Plan(options.rounds, options.seconds, per_cpu, options.origin_port, options.against)
    found = results(comparisons, measure(comparisons, plan, s3_gateways))
    print(table(found))
    if options.json:
        options.json.write_text(document(run, found))
    if options.svg:
        options.svg.write_text(svg(run, found))
    if options.against is not None:
        if slower := [result.name for result in found if not result.is_met]:
            sys.exit(f"slower than {options.against}: {', '.join(slower)}")
    elif not options.only:
        _measure_pages(options.rounds)


def _require_programs() -> None:
    """Exit with the command that installs what is missing."""
    if missing := [name for name in ("nginx", "wrk", "taskset") if program(name) is None]:
        sys.exit(f"the benchmark needs {' and '.join(missing)}: apt-get install nginx wrk util-linux")
    if missing := [str(module) for module in NJS if not module.exists()]:
        sys.exit(f"the benchmark needs {' and '.join(missing)}: apt-get install libnginx-mod-http-js")


def _measure_pages(rounds: int) -> None:
    if pages.chromium() is None:
        print("pages are not measured: Chromium is not installed", file=sys.stderr)
        return
    print("\n" + pages.table(asyncio.run(pages.measure(rounds))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument(
        "--only", default="", help="a part of a mode: stream, memory, redirect, accel, front cache, …; or pages"
    )
    parser.add_argument(
        "--per-cpu", action="store_true", help="requests per second of processor time, for machines with other load"
    )
    parser.add_argument(
        "--against",
        type=_checkout,
        metavar="TREE",
        help="compare only with the gateway of another checkout (as of the last tag), by processor time; "
        "exit with 1 if this one is slower",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all medians, ratios and rounds")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a picture")
    parser.add_argument(
        "--s3-gateway",
        type=Path,
        action="append",
        default=[],
        metavar="CONF",
        help="nginx.conf of nginx-s3-gateway; may be given twice, with proxy_cache and without",
    )
    parser.add_argument("--origin-port", type=int, help="port of the origin, for the address in CONF")
    return parser.parse_args()


def _checkout(path: str) -> Path:
    tree = Path(path).resolve()
    if not (tree / "gateway" / "__main__.py").exists():
        raise argparse.ArgumentTypeError(f"{path} is no checkout of the gateway")
    return tree


if __name__ == "__main__":
    main()
