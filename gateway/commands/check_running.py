"""``gateway check --running``: a table of the gateways that run, and how they differ."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from gateway.checks.nginx import list_addresses, upstreams
from gateway.checks.running import (
    COLUMNS,
    DIFFERS,
    SILENT,
    diagnose_list_address,
    diagnose_nginx_list,
    diagnose_ports,
    diagnose_running,
    rows_of,
)
from gateway.commands.dependencies import ask_gateways, open_dependencies
from gateway.commands.output import OutputConsole
from gateway.findings.finding import Finding, well
from gateway.net.bounded_http import BoundedHttp, ServiceUnavailable
from gateway.net.printable import printable
from gateway.redis_replicas.replica_questions import ReplicaAnswer
from gateway.settings import Settings

NGINX_STATUS: Final = "http://127.0.0.1:9089/status"
_WAIT: Final = 3.0  # seconds for the answers of replicas


async def find_running(
    settings: Settings, admin: Sequence[str], nginx: Path, nginx_status: str | None
) -> list[Finding]:
    """Print the table, and return the findings.

    admin: URLs of admin ports to ask, beside the replicas that Redis lists. nginx: the folder of its configuration.
    nginx_status: the URL of nginx's own list. None: the address in its files, else the shipped one.
    """
    findings: list[Finding] = []
    async with open_dependencies(settings) as opened, BoundedHttp(_WAIT) as http:
        answers, silent, problem, _, unasked = await ask_gateways(opened, http, admin, _WAIT)
        is_known = opened.stores.redis is not None and problem is None  # whether Redis says which gateways there are
        if opened.stores.redis is None:
            findings.append(well("redis", "turned off by url_cache.enabled: it lists no gateways"))
        elif problem is not None:
            findings.append(Finding.of("dependency_down", "redis", f"no gateways are known: {problem}"))
        for url, why in unasked.items():
            advice = "is this its admin port?" if why.startswith("no answer") else ""
            findings.append(Finding.of("gateways_silent", f"admin {url}", why, advice))
        own_list = await asyncio.to_thread(list_addresses, nginx)
        address = nginx_status or (f"http://{own_list[0]}/status" if own_list is not None else NGINX_STATUS)
        status = await _nginx_status(http, address)
    sorted_answers = [answers[name] for name in sorted(answers)]
    _print_table(sorted_answers, silent)
    if is_known or sorted_answers:
        findings += diagnose_running(sorted_answers, silent, is_complete=is_known and not unasked)
    findings.append(diagnose_nginx_list(status, address))
    if own_list is not None:
        findings.append(diagnose_list_address(*own_list))
    ports = {"image_gateway": settings.server.port, "image_gateway_admin": settings.admin.port}
    compared = diagnose_ports(await asyncio.to_thread(upstreams, nginx), ports)
    # Units with an instance have ports of their own: nginx that asks every gateway has the right ports.
    is_asked = answers and all(min(answer.nginx.values(), default=SILENT) < SILENT for answer in sorted_answers)
    return findings + [found for found in compared if found.level != "warning" or not is_asked]


async def _nginx_status(http: BoundedHttp, url: str) -> Mapping[str, object] | str:
    """Return nginx's answer, or why there is none."""
    try:
        answer = json.loads(await http.get(url))
    except ServiceUnavailable as error:
        return str(error)
    except (ValueError, RecursionError):
        return "its answer is no JSON"
    return answer if isinstance(answer, dict) else "its answer is no JSON object"


def _print_table(answers: Sequence[ReplicaAnswer], silent: Sequence[str]) -> None:
    if not (rows := rows_of(answers, silent)):
        return
    table = Table(*COLUMNS)
    for row in rows:
        texts = [(printable(DIFFERS + cell), "red") if marked else (printable(cell), "") for cell, marked in row]
        table.add_row(*(Text(text, style) for text, style in texts))
    console = OutputConsole(highlight=False)
    if not console.is_terminal:
        console.width = 400  # a pipe has no width: no cell is cut
    console.print(table)
