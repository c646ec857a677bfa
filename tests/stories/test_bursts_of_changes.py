"""More rows change at once than the gateway handles in time: every row is read again, and no change is missed."""

from gateway.catalog.change_feed import CHANNEL
from tests.answering import answering
from tests.conftest import Images, StartGateway
from tests.waiting import until, until_listening_to_changes

# The notification of this change is lost, as if there had been no room for it.
UNNOTICED = "SET LOCAL session_replication_role = replica; UPDATE images SET is_public = false WHERE id = 'a'"


async def test_a_change_that_found_no_room_takes_effect_and_its_purge_is_counted_as_dropped(
    start_gateway: StartGateway, images: Images
) -> None:
    async with answering() as edge:
        target = {"target": "webhook", "url": edge.url, "base_urls": ["https://img.example.com"]}
        gateway = await start_gateway(purge=target)
        await until_listening_to_changes(gateway.ports.admin)
        await images.add("a", owner="alice", public=True)
        assert (await gateway.get("/i/a")).status == 200
        await images.execute(UNNOTICED)
        assert (await gateway.get("/i/a")).status == 200
        await images.execute("SELECT pg_notify(%s, 'id-' || n) FROM generate_series(1, 200000) n", CHANNEL)

        async def is_taken_away() -> bool:
            return (await gateway.get("/i/a")).status == 404

        await until(is_taken_away, what="the change")

        async def is_listed() -> bool:
            listed = (await gateway.request("GET", "/api/v1/changes?since=0", admin=True)).json()["changes"]
            return None in [change["image_id"] for change in listed]

        # A gateway that is busy for longer than its lease reads the row before.
        await until(is_listed, what="that every image may have changed, for nginx")
        await until(lambda: gateway.sample("purges_total", result="dropped") > 0, what="a dropped purge")
