"""``GET /api/v1/changes``: every change that a gateway hears of is in the list that nginx asks for."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.api.nginx import NginxListHandler
from gateway.concurrency.clocks import boot_time
from gateway.errors import RouteNotFound
from tests.conftest import ADMIN_TOKEN, Images, RunningGateway, StartGateway, token_for
from tests.limits import LIMIT
from tests.waiting import until

AS_ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
LINKS = {"signed_links": {"keys": {"one": "1" * 32}}}


async def ask(gateway: RunningGateway, since: int = 0, **query: str) -> dict[str, Any]:
    """The answer to one question."""
    answer = await gateway.request("GET", "/api/v1/changes", admin=True, params={"since": str(since), **query})
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    found: dict[str, Any] = answer.json()
    return found


async def until_complete(*gateways: RunningGateway) -> None:
    """Return when the gateways hear every change."""

    async def are_complete() -> bool:
        answers = [await ask(gateway) for gateway in gateways]
        return all(answer["complete_since"] < answer["now"] for answer in answers)

    await until(are_complete, what="the complete list")


async def changed(gateway: RunningGateway, since: int = 0) -> set[str | None]:
    """The images in the list of the gateway."""
    return {change["image_id"] for change in (await ask(gateway, since))["changes"]}


async def until_listed(gateways: Sequence[RunningGateway], *image_ids: str) -> None:
    """Return when each gateway lists the images."""

    async def are_listed() -> bool:
        return all([set(image_ids) <= await changed(gateway) for gateway in gateways])

    await until(are_listed, what=f"the changes of {image_ids}")


async def are_void(gateway: RunningGateway, since: int) -> bool:
    """Return whether decisions have become void after ``since``."""
    return bool((await ask(gateway))["access"] > since)


async def _has_every_image(gateway: RunningGateway, since: int) -> bool:
    return None in await changed(gateway, since)


@pytest.fixture
async def replicas(start_gateway: StartGateway, links_table: object) -> list[RunningGateway]:
    """Two gateways that hear every change."""
    del links_table
    started = [await start_gateway(access=LINKS) for _ in range(2)]
    await until_complete(*started)
    return started


class TestEachWayInWhichARightEnds:
    """Both gateways list it, whichever of them nginx asks."""

    async def test_a_row(self, replicas: list[RunningGateway], images: Images) -> None:
        ends = {
            "made-private": "UPDATE images SET is_public = false WHERE id = %s",
            "another-owner": "UPDATE images SET user_id = 'bob' WHERE id = %s",
            "deleted": "UPDATE images SET storage_status = 'deleted' WHERE id = %s",
            "another-object": "UPDATE images SET cos_key = 'another' WHERE id = %s",
            "row-removed": "DELETE FROM images WHERE id = %s",
        }
        for image_id in (*ends, "unchanged"):
            await images.add(image_id, owner="alice")
        for image_id, sql in ends.items():
            await images.execute(sql, image_id)
            await until_listed(replicas, image_id)
        for gateway in replicas:
            assert await changed(gateway) == ends.keys()

    @pytest.mark.parametrize("is_admin", [False, True], ids=["by its owner", "by the admin"])
    async def test_killed_links(self, replicas: list[RunningGateway], images: Images, is_admin: bool) -> None:
        await images.add("a", owner="alice", public=False)
        headers = AS_ADMIN if is_admin else {"Authorization": f"Bearer {token_for('alice')}"}
        killed = await replicas[0].request("DELETE", "/api/v1/images/a/links", admin=is_admin, headers=headers)
        assert killed.status == 200
        await until_listed(replicas, "a")

    async def test_a_purge(self, replicas: list[RunningGateway]) -> None:
        body = {"image_ids": ["a", "b:c"]}
        purged = await replicas[1].request("POST", "/api/v1/cache/purge", admin=True, json=body, headers=AS_ADMIN)
        assert purged.status == 200
        await until_listed(replicas, "a", "b:c")

    async def test_settings(self, replicas: list[RunningGateway]) -> None:
        settings: list[tuple[Mapping[str, Any], bool]] = [
            ({"access": {"signed_links": {"keys": {"two": "2" * 32}}}}, False),
            ({"access": {"jwt": {"secret": "another-secret-of-more-than-thirty-two-bytes"}}}, False),
            ({"access": {"jwt": None}}, False),
            ({"image_variants": {"originals": "owner"}}, True),
            ({"image_styles": {"small": "imageMogr2/thumbnail/100x"}}, True),
            ({"image_proxy": {"enabled": False}}, True),
        ]
        for changes, are_images_others in settings:
            before = [await ask(gateway) for gateway in replicas]
            await replicas[0].reload(**changes)
            for gateway, earlier in zip(replicas, before, strict=True):
                await until(partial(are_void, gateway, earlier["access"]), what=f"void decisions after {changes}")
                if are_images_others:
                    await until(partial(_has_every_image, gateway, earlier["now"] + 1))
                else:
                    assert None not in await changed(gateway, earlier["now"] + 1), changes

    async def test_other_settings_end_no_right(self, replicas: list[RunningGateway]) -> None:
        before = await ask(replicas[0])
        await replicas[0].reload(
            image_proxy={"max_age": 60},
            image_variants={"max_new_per_minute": 5},
            admin={"token": "another-admin-token"},
        )
        after = await ask(replicas[0])
        assert (after["access"], after["changes"]) == (before["access"], [])

    async def test_a_replica_that_starts_with_other_settings(
        self, replicas: list[RunningGateway], start_gateway: StartGateway
    ) -> None:
        before = (await ask(replicas[0]))["access"]
        await start_gateway(access={"signed_links": {"keys": {"two": "2" * 32}}})
        await until(partial(are_void, replicas[0], before), what="void decisions")


async def test_a_new_url_of_an_image_is_no_change(replicas: list[RunningGateway], images: Images) -> None:
    await images.add("a", owner="alice")
    renewed = await replicas[0].request("POST", "/api/v1/images/a/url/refresh", admin=True, headers=AS_ADMIN)
    assert renewed.status == 200
    await replicas[0].request("POST", "/api/v1/cache/purge", admin=True, json={"image_ids": ["b"]}, headers=AS_ADMIN)
    await until_listed(replicas[1:], "b")  # the channel keeps the order
    assert await changed(replicas[1]) == {"b"}


async def test_after_a_gap_every_gateway_lists_every_image(
    replicas: list[RunningGateway], images: Images, redis_client: Any
) -> None:
    """The one that has heard nothing may have given nginx an old image, after another one had named the change."""
    gateway = replicas[0]
    for cut in (
        lambda: images.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'image-gateway-changes'"
        ),
        lambda: asyncio.to_thread(redis_client.client_kill_filter, _type="pubsub"),
    ):
        before = await ask(gateway)
        await cut()

        async def has_moved(before: dict[str, Any] = before) -> bool:
            answer = await ask(gateway)
            return bool(before["now"] < answer["complete_since"] < answer["now"] and answer["access"] > before["now"])

        await until(has_moved, what="the gap")
        for each in replicas:
            await until(partial(_has_every_image, each, before["now"]), what="the change")


async def test_gateways_name_the_settings_on_which_their_answers_depend(start_gateway: StartGateway) -> None:
    first = await start_gateway(image_styles={"s": {"widths": [10]}, "t": {}})
    other = await start_gateway(
        image_styles={"t": {}, "s": {"widths": [20]}}, image_variants={"max_new_per_minute": 7}, access=LINKS
    )
    before, settings = (await ask(first))["settings"], (await ask(other))["settings"]
    assert before != settings
    await first.reload(image_styles={"s": {"widths": [20]}, "t": {}})
    assert (await ask(first))["settings"] == settings


async def test_a_gateway_that_hears_nothing_lists_what_it_knows(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(redis={"url": "redis://127.0.0.1:1"})
    purge = {"image_ids": ["a"]}
    await gateway.request("POST", "/api/v1/cache/purge", admin=True, json=purge, headers=AS_ADMIN)
    await until_listed([gateway], "a")
    answer = await ask(gateway)
    assert answer["complete_since"] == answer["now"]


async def test_the_event_loop_runs_while_a_list_of_twenty_thousand_changes_is_made(gateway: RunningGateway) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    for number in range(20_000):
        gateway.changes.image_changed(f"image-{number}", boot_time())
    task = asyncio.create_task(others(), name="others")
    assert (await ask(gateway))["more"] is True
    task.cancel()
    assert turns > 60, "one for each five hundred that are looked at, and that are listed"


async def test_each_nginx_and_what_it_reports_is_counted(gateway: RunningGateway) -> None:
    for reason in ("start", "gap", "full", "settings"):
        assert gateway.sample("nginx_floors_total", reason=reason) == 0
    await ask(gateway, nginx="edge-1.example", epochs="3", floor="start")
    await ask(gateway, nginx="edge-1.example", epochs="2")
    await ask(gateway)
    for statistic in ("epochs=-1", "epochs=1e3", "nginx=a%20b", "nginx=", "floor=other", "now=", "now=1e3"):
        answer = await gateway.request("GET", f"/api/v1/changes?since=0&{statistic}", admin=True)
        assert answer.status == 200, "a statistic never refuses the list"
    metrics = (await gateway.request("GET", "/metrics", admin=True)).body.decode()
    assert 0 < gateway.sample("nginx_asked_seconds", nginx="edge-1.example") < LIMIT
    assert 'image_gateway_nginx_floors_total{reason="gap"} 0.0' in metrics
    assert gateway.sample("nginx_floors_total", reason="start") == 1
    assert gateway.sample("nginx_epochs_total") == 5
    await ask(gateway, nginx="edge-1.example", epochs="9" * 15)
    assert gateway.sample("nginx_epochs_total") == 1_000_005


async def test_what_a_page_a_client_or_another_proxy_asks_is_not_counted_as_a_question_of_nginx(
    gateway: RunningGateway,
) -> None:
    """It would hide that no nginx asks, or raise the alarm of a wrong port."""
    question, metrics = "/api/v1/changes?since=0&nginx=x&epochs=1000000&floor=gap", gateway.service.metrics.nginx
    for field in ("Sec-Fetch-Site", "Accept-Language"):
        assert (await gateway.request("GET", question, admin=True, headers={field: "none"})).status == 200
    assert metrics.nginx_asked.seconds() == {}
    assert gateway.sample("nginx_epochs_total") == gateway.sample("nginx_floors_total", reason="gap") == 0
    for field in ("X-Forwarded-For", "Forwarded", "Via"):
        headers = {"Host": "localhost", field: "1.1 proxy"}
        assert (await gateway.request("GET", question, headers=headers)).status == 404
    handler = NginxListHandler(gateway.service.changes.nginx_list, metrics)
    for counted, peers in ((0, ["8.8.8.8", "2606:4700::1111"]), (3, ["10.0.0.7", "100.64.0.7", "::ffff:127.0.0.1"])):
        for peer in peers:
            with pytest.raises(RouteNotFound):
                await handler.refuse(make_mocked_request("GET", question, {"Host": "localhost"}).clone(remote=peer))
        assert gateway.sample("nginx_misdirected_total") == counted


async def test_a_question_that_makes_no_sense_is_refused_and_the_public_port_has_no_list(
    gateway: RunningGateway,
) -> None:
    for query in ("", "since=", "since=-1", "since=1e3", "since=1234567890123456"):
        answer = await gateway.request("GET", f"/api/v1/changes?{query}", admin=True)
        assert (answer.status, answer.json()["code"]) == (400, "invalid_request"), query
    assert (await gateway.request("GET", "/api/v1/changes?since=0", headers=AS_ADMIN)).status == 404
