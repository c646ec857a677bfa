"""Two gateways behind each front, by the lines of the recipes that are comments."""

from tests.conftest import Images, RunningGateway, StartGateway
from tests.fronts.conftest import running_front


async def test_two_gateways_take_requests_in_turn_and_none_fails_when_one_of_them_stops(
    front_name: str, start_gateway: StartGateway, images: Images
) -> None:
    await images.add("a")
    first, second = await start_gateway(), await start_gateway()

    def answered(gateway: RunningGateway) -> float:
        return gateway.sample("requests_total", route="url", delivery="none", status="200")

    async with running_front(front_name, first, second=second) as front:
        for _ in range(10):
            assert (await front.get("/api/v1/images/a/url")).status == 200
        assert min(answered(first), answered(second)) > 0
        await second.close()
        statuses = [(await front.get("/api/v1/images/a/url")).status for _ in range(10)]
        assert statuses == [200] * 10
