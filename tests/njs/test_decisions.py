"""nginx keeps decisions of the gateway, and drops them: ``private-cache.conf`` and ``accel.conf`` with njs."""

import asyncio
from pathlib import Path

import pytest

from tests.conftest import Answer
from tests.nginx.conftest import Nginx
from tests.njs.conftest import Scripted, StartNjs, site, until_soon
from tests.njs.test_changes import is_hit
from tests.waiting import until

ALICE, BOB = "Bearer alice", "Bearer bob"
SESSION = "session=alice"
# A busy machine holds up an answer for two seconds.
PATIENT = {"PRIVATE_WITHOUT_ANSWER = 2000": "PRIVATE_WITHOUT_ANSWER = 6000"}


@pytest.fixture
async def nginx(start_njs: StartNjs, gateway: Scripted) -> Nginx:
    """nginx with ``private-cache.conf`` in front of a gateway that allows Alice to view the image ``a``."""
    gateway.allowed, gateway.decision_for, gateway.is_public = {ALICE}, 10, False
    gateway.images["a"] = "old"
    nginx = await start_njs(
        site("private-cache.conf", [gateway.address], [gateway.address]),
        {
            'map "" $image_user { default ""; }': 'map "" $image_user { default $http_x_verified_by_a_test; }',
            'map "" $image_groups { default ""; }': 'map "" $image_groups { default $http_x_groups_by_a_test; }',
            **PATIENT,
        },
    )
    await kept(nginx, gateway)
    return nginx


@pytest.fixture
async def accel(start_njs: StartNjs, gateway: Scripted) -> Nginx:
    """nginx with ``accel.conf`` in front of such a gateway, which is COS, too."""
    gateway.allowed, gateway.decision_for, gateway.is_public, gateway.is_accel = {ALICE}, 10, False, True
    gateway.images["a"] = "old"
    cos = f"upstream cos {{ server {gateway.address}; }}\n"
    nginx = await start_njs(cos + site("accel.conf", [gateway.address], [gateway.address]), PATIENT)
    await kept(nginx, gateway)
    return nginx


def questions(gateway: Scripted) -> int:
    """Return how often the gateway was asked whether a caller may view the image."""
    return gateway.requests["a" if gateway.is_accel else "access"]


async def get(nginx: Nginx, authorization: str | None = ALICE, path: str = "/i/a", **headers: str) -> Answer:
    """Request the image."""
    return await nginx.get(path, **headers, **({"Authorization": authorization} if authorization else {}))


async def kept(nginx: Nginx, gateway: Scripted) -> None:
    """Return when nginx answers Alice without a question."""

    async def is_kept() -> bool:
        before = questions(gateway)
        answer = await get(nginx)
        return (answer.status, answer.body, questions(gateway)) == (200, gateway.images["a"].encode(), before)

    await until(is_kept, what="a kept decision")


async def until_refused(nginx: Nginx) -> None:
    """Return when Alice is refused."""

    async def is_refused() -> bool:
        return (await get(nginx)).status == 404

    await until_soon(is_refused, what="the refusal")


async def test_a_decision_is_for_one_caller_and_one_address(nginx: Nginx, gateway: Scripted) -> None:
    before = questions(gateway)
    for authorization in (BOB, None, "Bearer alicf"):
        assert (await get(nginx, authorization)).status == 404
    assert (await get(nginx, None, Cookie=SESSION)).status == 404
    assert (await get(nginx, path="/i/a?style=s")).status == 200
    assert questions(gateway) == before + 5
    assert (await get(nginx, path="/i/a?style=s")).status == 200
    assert questions(gateway) == before + 5
    answer = await get(nginx)
    assert (is_hit(answer), questions(gateway)) == (True, before + 5)


async def a_cookie_is_decided_for(nginx: Nginx, gateway: Scripted) -> None:
    """Check that a decision for a caller with a cookie is for no caller with another one or with none."""
    gateway.allowed = {SESSION}
    assert [(await get(nginx, None, Cookie=SESSION)).status for _ in range(2)] == [200, 200]
    assert (await get(nginx, None, Cookie="session=bob")).status == 404
    assert (await get(nginx, None)).status == 404


async def test_a_decision_is_for_one_cookie(nginx: Nginx, gateway: Scripted) -> None:
    await a_cookie_is_decided_for(nginx, gateway)


async def test_an_order_is_for_one_cookie(accel: Nginx, gateway: Scripted) -> None:
    await a_cookie_is_decided_for(accel, gateway)


async def test_a_decision_is_for_one_user_of_a_proxy_that_authenticates(nginx: Nginx, gateway: Scripted) -> None:
    gateway.allowed = {"ann"}
    for _ in range(2):
        assert (await get(nginx, None, X_Verified_By_A_Test="ann")).status == 200
    assert (await get(nginx, None, X_Verified_By_A_Test="ben")).status == 404
    assert (await get(nginx, None)).status == 404
    before = questions(gateway)
    for _ in range(2):
        assert (await get(nginx, None, X_Verified_By_A_Test="ann", X_Groups_By_A_Test="t1")).status == 200
    assert questions(gateway) == before + 1, "other groups, another decision"


@pytest.mark.parametrize("path", ["/i/a?format=auto", "/i/a?st%79le=s"])
async def test_what_depends_on_more_than_the_address_is_decided_each_time(
    nginx: Nginx, gateway: Scripted, path: str
) -> None:
    before = questions(gateway)
    assert [(await get(nginx, path=path)).status for _ in range(2)] == [200, 200]
    assert questions(gateway) == before + 2


async def test_denials_are_not_kept(nginx: Nginx, gateway: Scripted) -> None:
    assert (await get(nginx, BOB)).status == 404
    gateway.allowed.add(BOB)
    assert (await get(nginx, BOB)).status == 200


async def test_a_decision_ends_when_the_gateway_says_so(nginx: Nginx, gateway: Scripted) -> None:
    gateway.allowed, gateway.decision_for = {ALICE, BOB}, 0
    before = questions(gateway)
    assert [(await get(nginx, BOB)).status for _ in range(2)] == [200, 200]
    assert questions(gateway) == before + 2
    gateway.decision_for = 4
    assert [(await get(nginx, BOB)).status for _ in range(2)] == [200, 200]
    assert questions(gateway) == before + 3
    gateway.allowed = set("nobody")

    async def is_refused() -> bool:
        return (await get(nginx, BOB)).status == 404

    await until(is_refused, seconds=20)


async def test_a_change_of_the_image_drops_its_decisions(nginx: Nginx, gateway: Scripted) -> None:
    gateway.allowed = {BOB}
    gateway.set("a", "new")
    await until_refused(nginx)
    assert (await get(nginx, BOB)).body == b"new"


async def test_a_change_of_access_drops_all_decisions(nginx: Nginx, gateway: Scripted) -> None:
    gateway.allowed = {BOB}
    gateway.access = gateway.now()
    await until_refused(nginx)
    assert is_hit(await get(nginx, BOB)), "the copy remains"


async def test_a_change_of_the_image_or_of_access_drops_kept_answers(accel: Nginx, gateway: Scripted) -> None:
    gateway.allowed = {BOB}
    gateway.set("a", "new")
    await until_refused(accel)
    gateway.allowed = {ALICE}
    await kept(accel, gateway)
    gateway.allowed = {BOB}
    gateway.access = gateway.now()
    await until_refused(accel)


async def test_a_decision_from_before_a_change_is_not_kept_after_it(nginx: Nginx, gateway: Scripted) -> None:
    gateway.allowed.add(BOB)
    gateway.held = asyncio.Event()
    before = questions(gateway)
    slow = asyncio.create_task(get(nginx, BOB))
    await until(lambda: questions(gateway) > before)
    gateway.set("a", "new")
    gateway.allowed.remove(BOB)
    forgotten = len(gateway.asked)
    await until(lambda: any(int(asked["epochs"]) for asked in gateway.asked[forgotten:]), what="the new epoch")
    gateway.held.set()
    await slow
    assert (await get(nginx, BOB)).status == 404
    assert questions(gateway) == before + 2


async def test_while_no_gateway_answers_nothing_private_is_sent_without_a_question(
    nginx: Nginx, gateway: Scripted
) -> None:
    gateway.is_silent = True

    async def is_asked() -> bool:
        before = questions(gateway)
        answer = await get(nginx)
        return questions(gateway) > before and not is_hit(answer)

    await until(is_asked, seconds=12)
    gateway.is_silent = False
    await kept(nginx, gateway)


async def test_a_kept_answer_gives_the_same_response_without_a_question(accel: Nginx, gateway: Scripted) -> None:
    first = await get(accel, ALICE, "/i/a?download=a.png")
    before = questions(gateway)
    second = await get(accel, ALICE, "/i/a?download=a.png")
    assert questions(gateway) == before
    own = {"date", "x-request-id", "cache-status"}
    assert [
        {name: value for name, value in answer.headers.items() if name.lower() not in own} for answer in (first, second)
    ] == [{name: value for name, value in first.headers.items() if name.lower() not in own}] * 2
    assert (first.status, first.body) == (second.status, second.body) == (200, b"old")
    assert first.headers["Content-Type"] == "image/png"
    assert first.headers["Cache-Status"] == "image-gateway; fwd=bypass, nginx; hit"
    assert second.headers["Cache-Status"] == "nginx; hit"
    assert [len(second.headers.getall(name)) for name in first.headers] == [1] * len(first.headers)  # type: ignore[attr-defined]


async def test_a_kept_answer_about_a_private_image_is_for_one_caller(accel: Nginx, gateway: Scripted) -> None:
    before = questions(gateway)
    for authorization in (BOB, None):
        assert (await get(accel, authorization)).status == 404
    assert (await get(accel, None, Cookie=SESSION)).status == 404
    assert questions(gateway) == before + 3
    date = "Sat, 28 Nov 2026 00:03:01 GMT"
    for header, value in (("Range", "bytes=0-"), ("If-None-Match", '"x"'), ("If-Modified-Since", date)):
        await get(accel, ALICE, **{header: value})
    await accel.request("HEAD", "/i/a", Authorization=ALICE)
    assert questions(gateway) == before + 7


async def test_a_kept_answer_about_a_public_image_is_for_everybody(accel: Nginx, gateway: Scripted) -> None:
    gateway.is_public, gateway.allowed = True, set()
    gateway.images["open"] = "open-1"
    assert (await get(accel, None, "/i/open")).body == b"open-1"
    for authorization in (None, ALICE, BOB):
        assert (await get(accel, authorization, "/i/open")).body == b"open-1"
    assert gateway.requests["open"] == 1
    gateway.set("open", "open-2")

    async def is_new() -> bool:
        return (await get(accel, None, "/i/open")).body == b"open-2"

    await until_soon(is_new, what="the new answer")


async def test_an_answer_whose_url_cos_refuses_is_dropped(accel: Nginx, gateway: Scripted) -> None:
    gateway.images["b"] = "first"
    assert (await get(accel, path="/i/b?x")).body == b"first"
    gateway.images["b"] = "second"  # nobody hears of it, and COS refuses the old URL

    async def is_second() -> bool:
        return (await get(accel, path="/i/b?x")).body == b"second"

    def entries() -> list[Path]:
        return list((accel.folder / "cache").rglob("?" * 32))

    await until(lambda: len(entries()) == 2, what="both objects in the cache")
    for entry in entries():
        entry.unlink()
    assert await is_second(), "the gateway streams it"
    before = gateway.requests["b"]
    assert await is_second()
    assert gateway.requests["b"] == before + 1, "the kept answer is gone"
