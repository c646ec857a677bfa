"""How running gateways differ, and what is wrong with them. There is no I/O here."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from gateway.findings.finding import Finding, well
from gateway.redis_replicas.replica_questions import ReplicaAnswer

SILENT: Final = 30.0  # seconds, as of the alert
# What has to be the same everywhere, by the name of its column.
_SAME: Final = ("version", "program", "settings", "entry_key")
COLUMNS: Final = ("replica", "version", "program", "settings", "entry key", "changes", "nginx asked", "last error")
DIFFERS: Final = "≠ "

# A line of the table: the text of each cell, and whether it differs or is wrong.
Row = Sequence[tuple[str, bool]]


def rows_of(answers: Sequence[ReplicaAnswer], silent: Sequence[str]) -> list[Row]:
    """Return a line for each answer, and for the name of each replica that did not answer."""
    usual = _usual(answers)
    rows: list[Row] = []
    for answer in answers:
        values = [(name, str(getattr(answer, name))) for name in _SAME]
        same = [(value, value != usual[name]) for name, value in values]
        asked = ", ".join(f"{name} {seconds:.0f} s ago" for name, seconds in answer.nginx.items())
        nginx = asked or "by none", any(seconds > SILENT for seconds in answer.nginx.values())
        changes, error = (answer.changes, answer.changes != "ok"), (answer.last_error or "none", False)
        rows.append([(answer.name, False), *same, changes, nginx, error])
    blank = [("", False)] * (len(COLUMNS) - 2)
    return rows + [((name, True), ("does not answer", True), *blank) for name in silent]


def diagnose_running(
    answers: Sequence[ReplicaAnswer], silent: Sequence[str], *, is_complete: bool = True
) -> Iterator[Finding]:
    """Yield what is wrong, or that nothing is.

    silent: the names of replicas that did not answer. is_complete: all others are known and answered.
    """
    if not answers and not silent:
        yield Finding.of("gateways_none", "gateways")
        return
    if silent:
        yield Finding.of("gateways_silent", "gateways", count=len(silent), of=len(answers) + len(silent))
    usual = _usual(answers)
    different = [
        name.replace("_", " ") for name in _SAME if any(str(getattr(answer, name)) != usual[name] for answer in answers)
    ]
    if different:
        yield Finding.of("gateways_differ", "differences", different=", ".join(different))
    elif answers:
        yield well("differences", f"{len(answers)} processes have the same version, program, settings and key")
    deaf = [answer for answer in answers if answer.changes != "ok"]
    for answer in deaf:
        what = f"{answer.name}: {answer.changes}"
        yield Finding.of("changes_not_heard", "changes", what, "see the log of that gateway")
    if answers and not deaf:
        are_all = is_complete and not silent
        which = "every gateway hears" if are_all else f"the {len(answers)} that answered hear"
        yield well("changes", f"{which} of changes")


def diagnose_nginx_list(status: Mapping[str, object] | str, address: str) -> Finding:
    """Return what nginx's own list says. ``status`` is its answer, or why there is none."""
    name = "nginx list"
    if isinstance(status, str):
        return Finding.of("nginx_list_unseen", name, address=address, reason=status)
    heard, trouble = status.get("heard_ms_ago"), status.get("trouble")
    if trouble:
        return Finding.of("nginx_list_fails", name, f"nginx says: {trouble}")
    if not isinstance(heard, int | float):
        return Finding.of("nginx_list_fails", name, "nginx has not heard of changes since its start")
    what = f"nginx heard of changes {heard / 1000:.1f} s ago"
    if heard > SILENT * 1000:
        return Finding.of("nginx_list_fails", name, what)
    return well(name, what)


def diagnose_ports(found: Mapping[str, Sequence[str]], expected: Mapping[str, int]) -> Iterator[Finding]:
    """Yield whether nginx's upstreams on this machine, by name, lead to the ``expected`` ports. None without any."""
    named = [
        (upstream, address, expected[upstream])
        for upstream, addresses in found.items()
        if upstream in expected
        for address in addresses
        if address.rpartition(":")[0] in {"127.0.0.1", "localhost", "[::1]"}
    ]
    others = [
        f"{upstream} leads to {address}, and the configuration says {port}"
        for upstream, address, port in named
        if address.rpartition(":")[2] != str(port)
    ]
    if others:
        yield Finding.of("nginx_ports_differ", "nginx ports", "; ".join(others))
    elif named:
        yield well("nginx ports", "upstream.conf and the configuration name the same ports")


def diagnose_list_address(listens: str, asks: str) -> Finding:
    """Return whether nginx asks its own list where it answers."""
    if listens != asks:
        return Finding.of("nginx_list_elsewhere", "nginx list", listens=listens, asks=asks)
    return well("nginx list", f"nginx asks its own list where it answers: {listens}")


def _usual(answers: Sequence[ReplicaAnswer]) -> dict[str, str]:
    """Return the most frequent value of each column."""
    return {
        name: Counter(str(getattr(answer, name)) for answer in answers).most_common(1)[0][0] if answers else ""
        for name in _SAME
    }
