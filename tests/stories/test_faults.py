"""Faults, put in on purpose: each is named by ``/readyz``, ``check``, ``explain``, the console or an alert.

``tests/faults`` has the table of most of them. The table in docs/runbook.md says which tool names which.
"""

import asyncio
import json
import re
import sys
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from gateway.findings.catalogue import CATALOGUE
from gateway_dev.database import ImageRow, ImagesTable
from tests.config.files import read, read_yaml
from tests.conftest import ADMIN_TOKEN, Images, RunningGateway, StartGateway
from tests.faults.scene import Scene, mortal_postgres, stage
from tests.faults.table import ELSEWHERE, FAULTS, parameters
from tests.firing import phases_with
from tests.processes import run_gateway
from tests.waiting import until, until_answered

__all__ = ["mortal_postgres", "stage"]
pytestmark = pytest.mark.usefixtures("forked_commands")

RawSettings = dict[str, dict[str, Any]]
KEY = "objects/cat.png"


class Operator:
    """The tools of an operator."""

    def __init__(self, raw_settings: RawSettings, folder: Path) -> None:
        self._raw_settings = raw_settings
        self._folder = folder

    def config(self, **changes: dict[str, Any]) -> str:
        """Return the path of the configuration with changed sections."""
        sections = {
            name: {**self._raw_settings.get(name, {}), **changes.get(name, {})} for name in self._raw_settings | changes
        }
        file = self._folder / "gateway.yaml"
        file.write_text(yaml.safe_dump(sections))
        return str(file)

    async def check(self, *options: str, **changes: dict[str, Any]) -> str:
        """Return the findings of ``check`` that are not well, each with its advice."""
        config = await asyncio.to_thread(self.config, **changes)
        _, output = await run_gateway("check", "--config", config, *options)
        findings = re.split(r"^(?=ok|warn|fail)", output, flags=re.MULTILINE)
        return "".join(finding for finding in findings if finding.startswith(("warn", "fail")))


@pytest.fixture
def operator(raw_settings: RawSettings, tmp_path: Path) -> Operator:
    """An operator with the configuration."""
    return Operator(raw_settings, tmp_path)


@pytest.fixture
def own_dsn(own_dsn: str) -> str:
    """The DSN of a database that this test may spoil, with a public image."""
    table = ImagesTable(own_dsn)
    table.create()
    table.create_links()
    table.put([ImageRow("cat", None, KEY, public=True)])
    return own_dsn


async def explained(gateway: RunningGateway, query: str = "", image_id: str = "cat") -> dict[str, Any]:
    """Return what ``explain`` says on the admin port."""
    answer = await gateway.request(
        "GET",
        f"/api/v1/monitoring/explain/{image_id}{query}",
        admin=True,
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
    )
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_7_a_missing_trigger(
    start_gateway: StartGateway, operator: Operator, images: Images, own_dsn: str
) -> None:
    """The gateway looks for it every ten minutes, and at once when an operator uses a tool or installs it."""
    await images.add("cat")
    gateway, table = await start_gateway(postgres={"dsn": own_dsn}), ImagesTable(own_dsn)

    async def until_it_shows(installed: int) -> None:
        await until(lambda: gateway.sample("change_trigger_installed") == installed, what=f"installed: {installed}")

    await until(lambda: gateway.sample("change_feed_connected") == 1)
    await until_it_shows(1)
    assert (await gateway.get("/i/cat")).status == 200
    await asyncio.to_thread(table.execute, "DROP TRIGGER image_gateway_changed ON images")
    await gateway.request("GET", "/api/v1/monitoring/console", admin=True)
    await until_it_shows(0)
    await asyncio.to_thread(table.execute, "UPDATE images SET is_public = false")
    old = await explained(gateway)
    assert re.search(r"but the gateway uses an earlier row, for \d+ s at most", old["verdict"]["reason"])
    assert old["row"]["changes"] == "not notified: no trigger on images notifies of changes"
    await asyncio.to_thread(table.create)
    await until_it_shows(1)
    await asyncio.to_thread(table.execute, "DROP TRIGGER image_gateway_changed ON images")
    found = await operator.check(postgres={"dsn": own_dsn})
    assert found.startswith("fail  changes: no trigger on images notifies of changes")
    assert "sql changes" in found
    await until_it_shows(0)


async def test_a_trigger_that_was_away_ends_the_trust_in_rows_that_were_read_meanwhile(
    start_gateway: StartGateway, images: Images, own_dsn: str
) -> None:
    """Whether it was away for hours, or between two looks of the gateway."""
    await images.add("cat")
    gateway, table = await start_gateway(postgres={"dsn": own_dsn}), ImagesTable(own_dsn)
    await until(lambda: gateway.sample("change_feed_connected") == 1)
    await until(lambda: gateway.sample("change_trigger_installed") == 1)
    trigger = "ALTER TABLE images {} TRIGGER image_gateway_changed"
    for is_public, is_seen in ((False, True), (True, False), (False, False)):
        await asyncio.to_thread(table.execute, trigger.format("DISABLE"))
        if is_seen:
            gateway.service.diagnostics.trigger_watch.look_soon()
            await until(lambda: gateway.sample("change_trigger_installed") == 0)
            await gateway.service.diagnostics.health.probe_all()
            readiness = (await gateway.get("/readyz", admin=True)).json()
            assert readiness["checks"]["changes"] == "degraded"
            assert readiness["reasons"]["changes"].startswith("no trigger on images notifies of changes")
        before = (await gateway.get("/i/cat")).status
        await asyncio.to_thread(table.execute, "UPDATE images SET is_public = %s", is_public)
        assert (await gateway.get("/i/cat")).status == before
        await asyncio.to_thread(table.execute, trigger.format("ENABLE"))
        gateway.service.diagnostics.trigger_watch.look_soon()
        await until_answered(gateway, "/i/cat", 200 if is_public else 404)
    await until(lambda: gateway.sample("change_trigger_installed") == 1)
    await gateway.service.diagnostics.health.probe_all()
    assert (await gateway.get("/readyz", admin=True)).json()["checks"]["changes"] == "ok"


async def test_a_trigger_that_sends_another_column_than_the_configured_id(
    start_gateway: StartGateway, operator: Operator, images: Images, own_dsn: str
) -> None:
    await images.add("cat")
    table = ImagesTable(own_dsn)
    await asyncio.to_thread(table.execute, "ALTER TABLE images ADD slug text; UPDATE images SET slug = id")
    settings = {"dsn": own_dsn, "columns": {"id": "slug"}}
    gateway = await start_gateway(postgres=settings)
    await until(lambda: gateway.sample("change_trigger_installed") == 0)
    await gateway.service.diagnostics.health.probe_all()
    readiness = (await gateway.get("/readyz", admin=True)).json()
    assert readiness["reasons"]["changes"].startswith("the trigger sends id")
    assert (await operator.check(postgres=settings)).startswith("fail  changes: the trigger sends id")


# In separate namespaces, an ordinary user may mount a disk of a megabyte, fill it, and look at it.
ON_A_FULL_DISK = """
mount -t tmpfs -o size=1m tmpfs "$1" || exit 77
dd if=/dev/zero of="$1/full" bs=4096 2>/dev/null
shift
exec "$@"
"""
NO_NAMESPACES = {1, 77, 127}  # unshare refuses, mount refuses, there is no unshare


async def test_9_a_full_disk_of_nginx(operator: Operator, images: Images, tmp_path: Path) -> None:
    """tests/nginx/test_completion_log.py shows what clients and nginx's log get of it."""
    await images.add("cat")
    cache, nginx = tmp_path / "cache", tmp_path / "nginx"
    cache.mkdir()
    nginx.mkdir()
    (nginx / "nginx.conf").write_text(f"proxy_cache_path {cache} keys_zone=cos:20m;\n")
    config = await asyncio.to_thread(operator.config)
    check = (sys.executable, "-m", "gateway", "check", "--config", config, "--nginx", str(nginx))
    mounted = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", ON_A_FULL_DISK, "sh", str(cache))
    # A shell starts it, so that a machine without unshare answers 127.
    code, output = await run_gateway(program=("sh", "-c", '"$@"', "sh", *mounted, "true"))
    if code == 0:
        _, output = await run_gateway(program=(*mounted, *check))
    else:
        assert code in NO_NAMESPACES, output
        # The file system of /proc has no free bytes on any machine.
        cache = Path("/proc/self")
        (nginx / "nginx.conf").write_text(f"proxy_cache_path {cache} keys_zone=cos:20m;\n")
        _, output = await run_gateway(program=check)
    assert f"warn  nginx cache: 0 MB are free at {cache}: nginx cuts off every answer that it cannot store" in output
    assert "min_free=2g" in output


async def test_12_renewals_that_were_given_up(
    start_gateway: StartGateway, images: Images, operator: Operator, redis_client: "redis.Redis"
) -> None:
    gateway = await start_gateway(url_prerefresh={"interval": 1})
    await images.add("cat")
    entry = json.dumps({"reason": "the security token ends", "at": time.time(), "attempts": 5})
    redis_client.hset("image:refresh:dead", "cat", entry)
    renewal = (await explained(gateway))["cached_url"]["renewal"]
    assert (renewal["state"], renewal["reason"]) == ("given up", "the security token ends")
    await until(lambda: gateway.sample("refresh_dead") == 1, what="the metric of the alert")
    replica = gateway.service.diagnostics.replica
    await replica.record()
    code, output = await run_gateway("queue", "requeue", "--config", await asyncio.to_thread(operator.config))
    assert code == 0, output
    await until(lambda: gateway.sample("refresh_dead") == 0, what="the release")
    await replica.record()
    shown = (await gateway.get("/api/v1/monitoring/console", admin=True)).json()["data"]
    assert ("renewals_left", {"count": 1}) in [(event["name"], event["values"]) for event in shown["events"]]


@pytest.mark.parametrize("stage", parameters(*FAULTS), indirect=True)
async def test_an_injected_fault_has_a_light_a_problem_an_alert_and_advice_and_ends(
    stage: AbstractAsyncContextManager[Scene], tmp_path: Path
) -> None:
    async with stage as scene:
        fault, alert = scene.fault, CATALOGUE[scene.fault.problem].alert
        await until(lambda: has_problems(scene, []), what="no problem")
        await until(lambda: works(scene), what="the first images")
        seen = [await scene.metrics()]
        assert set(await scene.ask(*["/i/c"] * 5)) == {200}
        seen += [await scene.metrics()] * 2

        await scene.inject()
        scene.five_seconds_pass()
        await until(lambda: is_first(scene), what=f"{fault.problem} as the first problem")
        await until(lambda: has_light(scene), what=f"the light {fault.light}")
        await until(lambda: nothing_else_is_down(scene), what="lights that are no worse than the headline")
        seen.append(await scene.metrics())
        if fault.advice is not None:
            verdict = await scene.explained()
            assert not verdict["served"]
            assert fault.advice in verdict["advice"]
        await scene.gateway.service.diagnostics.replica.record()
        assert f'finding="{fault.problem}"' in await scene.metrics()
        told = (await scene.gateway.get("/readyz", admin=True)).json()["findings"]
        kind = CATALOGUE[fault.problem]
        same = [finding for finding in told if finding["finding"] == fault.problem]
        assert [(finding["level"], finding["command"]) for finding in same][:1] == [(kind.level, kind.command)]
        assert all(finding["what"] and finding["remedy"] and finding["since"] for finding in same)
        assert any(fault.remedy in finding["remedy"] for finding in same), same
        assert any(re.search(fault.headline, finding["what"]) for finding in same), same
        found = await scene.check() if fault.check else ""
        assert [words for words in fault.check if words not in found] == [], found
        assert f"\n### {alert}\n" in read("docs/runbook.md")

        await scene.heal()
        await until(lambda: is_answered(scene), what="a request that works")
        scene.five_seconds_pass()
        seen.append(await scene.metrics())
        assert await scene.ask(fault.works, user="alice") == [200]
        scene.five_seconds_pass()
        await until(lambda: has_problems(scene, ["warning"]), what="the end of red")
        for _ in range(fault.lasts):
            scene.five_seconds_pass()
        await until(lambda: has_problems(scene, []), what="the end of the fault")
        seen.append(await scene.metrics())
        phases = list(zip(seen[::2], seen[1::2], strict=True))
        assert await phases_with(alert, phases, tmp_path) == [False, fault.is_alarming, False]


async def works(scene: Scene) -> bool:
    """Return whether an image is sent, which is late on a busy machine with the short limits of some faults."""
    return set(await scene.ask("/i/c")) == {200}


async def has_light(scene: Scene) -> bool:
    """Return whether ``/readyz`` shows the fault."""
    if scene.fault.light is None:
        return True
    name, state, reason = scene.fault.light
    report = scene.gateway.service.diagnostics.health.latest
    if report.checks[name] == state and reason in report.reasons.get(name, ""):
        return True
    await scene.gateway.service.diagnostics.health.probe_all()
    return False


async def has_problems(scene: Scene, levels: list[str]) -> bool:
    """Return whether every problem in the console has one of these levels."""
    return {level for _, level in await scene.probed_problems()} <= set(levels)


async def is_first(scene: Scene) -> bool:
    """Return whether the fault is the first problem in the console."""
    return (await scene.probed_problems())[:1] == [(scene.fault.problem, scene.fault.level)]


async def nothing_else_is_down(scene: Scene) -> bool:
    """Return whether no light is worse than the headline, and COS is not blamed. A probe may be late once."""
    is_still_first = await is_first(scene)
    lights = scene.gateway.service.diagnostics.health.latest.checks.values()
    others = [(other["name"], other["values"].get("dependency")) for other in (await scene.problems())[1:]]
    is_calm = (scene.fault.level == "bad" or "down" not in lights) and ("dependency_down", "cos") not in others
    return is_still_first and is_calm


async def is_answered(scene: Scene) -> bool:
    """Return whether a request for the image works."""
    return await scene.ask(scene.fault.works) == [200]


def test_thirty_nine_faults_and_more_are_injected_and_others_have_tests_elsewhere() -> None:
    assert len(FAULTS) >= 39
    for file, name in ELSEWHERE.values():
        assert f"def {name}(" in read(f"tests/{file}")


def test_the_table_of_the_runbook_names_tools_and_alerts_that_exist() -> None:
    table = read("docs/runbook.md").partition("## Which tool names which fault")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!fault|---)(.+)$", table, flags=re.MULTILINE)
    assert len(rows) >= 12
    for row in rows:
        assert sum(bool(cell.strip()) for cell in row.split("|")) >= 2, f"no tool names: {row}"
    documents = [read_yaml(f"config/prometheus/{file}") for file in ("alerts.yml", "objectives.yml")]
    alerts = {rule.get("alert") for document in documents for group in document["groups"] for rule in group["rules"]}
    assert set(re.findall(r"ImageGateway\w+", table)) <= alerts
