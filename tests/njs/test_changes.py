"""nginx asks gateways for changes, and forgets its copies: ``changes.js`` with gateways that a test scripts."""

import asyncio
import json
import time
from collections import Counter
from functools import partial
from itertools import pairwise

import pytest
import quickjs

from tests.conftest import Answer
from tests.nginx.conftest import Nginx
from tests.njs.conftest import SOON, Scripted, StartNjs, site, until_soon
from tests.simulation.nginx_scripts import Scripts
from tests.waiting import until


def is_hit(answer: Answer) -> bool:
    """Return whether the answer came from nginx's cache."""
    return "nginx; hit" in [value for name, value in answer.headers.items() if name == "Cache-Status"]


async def cached(nginx: Nginx, image_id: str) -> str:
    """Return what nginx has cached of the image, once it has cached something."""

    answers: list[Answer] = []

    async def has_cached() -> bool:
        answers.append(await nginx.get(f"/i/{image_id}"))
        return is_hit(answers[-1])

    await until(has_cached, what=f"a copy of {image_id}")
    return answers[-1].body.decode()


async def until_is(nginx: Nginx, image_id: str, content: str, seconds: float = SOON) -> None:
    """Return when nginx answers with that content."""

    async def is_new() -> bool:
        return (await nginx.get(f"/i/{image_id}")).body.decode() == content

    await until_soon(is_new, seconds=seconds, what=f"{content} as {image_id}")


@pytest.fixture
async def nginx(start_njs: StartNjs, gateway: Scripted) -> Nginx:
    """nginx with ``gateway-cache.conf`` and a scripted gateway."""
    return await start_njs(site("gateway-cache.conf", [gateway.address], [gateway.address]))


async def test_a_change_makes_every_copy_of_the_image_unreachable_and_no_other(nginx: Nginx, gateway: Scripted) -> None:
    for image_id in ("a", "a:b", "b@1.x-_"):
        gateway.images[image_id] = "old"
        assert await cached(nginx, image_id) == "old"
    for query in ("", "?style=s", "?download=x"):
        assert (await nginx.get(f"/i/a{query}")).body == b"old"
    gateway.set("a", "new")
    await until_is(nginx, "a", "new")
    requests = gateway.requests["a"]
    for query in ("?style=s", "?download=x"):
        assert (await nginx.get(f"/i/a{query}")).body == b"new"
    assert gateway.requests["a"] == requests + 2
    for image_id in ("a:b", "b@1.x-_"):
        assert is_hit(await nginx.get(f"/i/{image_id}"))
    gateway.changes.append((gateway.now(), None))
    gateway.images["b@1.x-_"] = "new"
    await until_is(nginx, "b@1.x-_", "new")


async def test_another_spelling_of_an_address_is_not_kept(nginx: Nginx, gateway: Scripted) -> None:
    gateway.images |= {"a": "old", "aa": "old"}
    assert await cached(nginx, "a") == "old"
    for path in ("/i/%61", "/i/x/../a", "/i//a", "/i/a%3Fb"):
        for _ in range(2):
            assert not is_hit(await nginx.get(path))


async def test_the_gateway_hears_who_asks_and_what_was_forgotten(nginx: Nginx, gateway: Scripted) -> None:
    await cached_after_start(nginx, gateway)
    assert {len(asked["nginx"]) > 0 for asked in gateway.asked} == {True}
    assert floors(gateway) == ["start"]
    assert all(asked["since"].isdigit() for asked in gateway.asked)
    gateway.set("a", "new")
    gateway.set("b", "new")
    await until(lambda: sum(int(asked["epochs"]) for asked in gateway.asked) >= 2)


async def cached_after_start(nginx: Nginx, gateway: Scripted, *others: Scripted) -> None:
    """Return when nginx has a copy of the image ``a``, and has told why it began anew."""
    gateway.images["a"] = "old"
    await cached(nginx, "a")
    await until(lambda: floors(gateway, *others))


def floors(*gateways: Scripted) -> list[str]:
    """Return why nginx has raised its floor, as it told the gateways. Without an answer in time it tells once more."""
    told = sorted((asked for gateway in gateways for asked in gateway.asked), key=lambda asked: int(asked["arrived"]))
    reasons = [asked.get("floor") for asked in told]
    return [reason for before, reason in pairwise([None, *reasons]) if reason and reason != before]


OTHER_FORMS = (
    "",
    "null",
    "[]",
    "{}",
    "<html>",
    *(
        json.dumps({"gateway": "g", "now": 1, "complete_since": 0, "changes": [], "access": 0, "settings": "s"} | other)
        for other in (
            {"gateway": None},
            {"gateway": "g" * 65},
            {"now": "1"},
            {"now": 1e99},
            {"complete_since": -1},
            {"access": None},
            {"settings": None},
            {"changes": [{"image_id": 1, "at": 1}]},
            {"changes": [{"image_id": "a"}]},
            {"changes": [None]},
            {"changes": {"length": 1}},
        )
    ),
)


async def test_an_answer_of_another_form_is_no_answer(start_njs: StartNjs, gateway: Scripted) -> None:
    gateway.images["a"] = "old"
    gateway.body = OTHER_FORMS[0]
    nginx = await start_njs(site("gateway-cache.conf", [gateway.address], [gateway.address]))
    for gateway.body in OTHER_FORMS:
        asked = len(gateway.asked)
        await until(lambda asked=asked: len(gateway.asked) > asked + 1)  # type: ignore[misc]
        assert [is_hit(await nginx.get("/i/a")) for _ in range(2)] == [False, False]
    gateway.body = None
    assert await cached(nginx, "a") == "old"


async def test_a_dictionary_that_is_too_small_forgets_everything_and_no_change(
    start_njs: StartNjs, gateway: Scripted
) -> None:
    http = site("gateway-cache.conf", [gateway.address], [gateway.address])
    nginx = await start_njs(http, {"zone=image_epochs:32M": "zone=image_epochs:32k"})
    ids = [f"image-with-a-long-name-{number}" for number in range(300)]
    for image_id in ids:
        gateway.images[image_id] = "old"
    await cached(nginx, ids[0])
    await asyncio.gather(*(nginx.get(f"/i/{image_id}") for image_id in ids))
    for image_id in ids:
        gateway.set(image_id, "new")
    await until_is(nginx, ids[-1], "new")
    answers = await asyncio.gather(*(nginx.get(f"/i/{image_id}") for image_id in ids))
    assert {answer.body for answer in answers} == {b"new"}
    await until(lambda: "full" in floors(gateway))


async def test_more_changes_than_an_answer_has_are_fetched_page_by_page_from_one_gateway(
    start_njs: StartNjs, two: list[Scripted]
) -> None:
    first, second = two
    nginx = await start_njs(site("gateway-cache.conf", [first.address], [first.address, second.address]))
    for number in range(60):
        first.images[f"i{number}"] = "old"
    assert await cached(nginx, "i0") == "old"
    await asyncio.gather(*(nginx.get(f"/i/i{number}") for number in range(60)))
    now = first.now()
    for gateway, skew in ((first, 2000), (second, -2000)):
        gateway.skew, gateway.page = skew, 10
        gateway.changes = [(now + skew + number, f"i{number}") for number in range(60)]
    for number in range(60):
        first.images[f"i{number}"] = "new"
    await until_is(nginx, "i59", "new", seconds=5)
    assert {(await nginx.get(f"/i/i{number}")).body for number in range(60)} == {b"new"}
    await until(lambda: int(first.asked[-1]["since"]) > now, what="a complete answer")
    assert "gap" not in floors(*two)


@pytest.mark.parametrize("skew", [-3_600_000, -10_000, 10_000])
async def test_a_clock_of_a_gateway_may_be_wrong(start_njs: StartNjs, two: list[Scripted], skew: int) -> None:
    first, second = two
    second.skew = skew
    nginx = await start_njs(site("gateway-cache.conf", [first.address], [first.address, second.address]))
    first.images["a"] = "0"
    assert await cached(nginx, "a") == "0"
    for number, hearing in enumerate((first, second, first, second), 1):
        first.images["a"] = str(number)
        hearing.changes.append((hearing.now(), "a"))  # the other gateway does not hear of it
        await until_is(nginx, "a", str(number), seconds=2)
        assert await cached(nginx, "a") == str(number)
    assert floors(*two) == ["start"]


async def test_what_comes_from_a_gateway_that_hears_later_is_forgotten_when_that_gateway_hears(
    start_njs: StartNjs, two: list[Scripted]
) -> None:
    early, late = two
    nginx = await start_njs(site("gateway-cache.conf", [late.address], [early.address, late.address]))
    late.images["a"] = "old"
    assert await cached(nginx, "a") == "old"
    requests = late.requests["a"]
    early.set("a", "new")
    await until_requested_again(nginx, late, requests)
    assert await cached(nginx, "a") == "old", "the gateway that was asked has not heard of the change"
    late.set("a", "new")
    await until_is(nginx, "a", "new", seconds=2)
    assert await cached(nginx, "a") == "new"


async def until_requested_again(nginx: Nginx, gateway: Scripted, requests: int) -> None:
    """Return when nginx asks the gateway for the image ``a`` more often than that."""

    async def is_requested() -> bool:
        await nginx.get("/i/a")
        return gateway.requests["a"] > requests

    await until(is_requested)


async def test_a_gateway_that_has_just_started_has_heard_everything_since_the_cache_was_empty(
    start_njs: StartNjs, gateway: Scripted
) -> None:
    gateway.complete_since = gateway.now()
    nginx = await start_njs(site("gateway-cache.conf", [gateway.address], [gateway.address]))
    gateway.images["a"] = "old"
    await cached(nginx, "a")
    await until(lambda: len(gateway.asked) > 3)
    assert is_hit(await nginx.get("/i/a"))


async def test_one_gateway_that_has_heard_everything_is_enough(start_njs: StartNjs, two: list[Scripted]) -> None:
    """As in a rolling restart: the gateways say one after the other that they have heard nothing before."""
    first, second = two
    http = site("gateway-cache.conf", [first.address], [first.address, second.address])
    nginx = await start_njs(http, {"INCOMPLETE = 10000": "INCOMPLETE = 5000"})
    await cached_after_start(nginx, first, second)
    for gateway in two:
        gateway.complete_since = gateway.now()
        await until(partial(is_complete, gateway), what="answers that are complete again")
        assert is_hit(await nginx.get("/i/a"))
    assert "killing previous instance" not in nginx.log
    assert floors(*two) == ["start"]


async def test_gateways_that_start_empty_the_cache_if_others_had_other_settings_within_a_minute(
    start_njs: StartNjs, two: list[Scripted]
) -> None:
    first, second = two
    nginx = await start_njs(site("gateway-cache.conf", [first.address], [gateway.address for gateway in two]))
    await cached_after_start(nginx, *two)
    expected = ["start"]
    for restarted, settings, raises in (
        (first, "before", False),
        (first, "after", True),
        (second, "after", True),  # nginx may have copies of what it has answered until now
        (first, "after", True),  # the second may have been there until now
    ):
        restarted.restart(settings)
        expected += ["settings"] if raises else []
        told, asked = sorted(expected), len(first.asked + second.asked)
        await until(lambda asked=asked: len(first.asked + second.asked) > asked + 3)  # type: ignore[misc]
        await until(lambda told=told: sorted(floors(*two)) == told)  # type: ignore[misc]
    await until(lambda: "forgets its copies of all images: settings" in nginx.log)


async def test_what_gateways_of_other_settings_sent_until_they_ended_is_forgotten_when_they_have(
    start_njs: StartNjs, two: list[Scripted]
) -> None:
    """In a rolling change they answer on beside those of the new settings, after nginx has heard of these."""
    old, new = two
    nginx = await start_njs(site("gateway-cache.conf", [old.address], [gateway.address for gateway in two]))
    await cached_after_start(nginx, *two)
    new.restart("after")
    await until(lambda: "settings" in floors(*two), what="the floor of the new settings")
    old.images["a"] = "of the old settings"
    assert (await nginx.get("/i/a")).body == b"of the old settings"
    assert is_hit(await nginx.get("/i/a"))
    old.is_silent = True
    old.images["a"] = "new"
    await until(lambda: floors(*two).count("settings") > 1, what="the floor after the end of the old settings")
    assert (await nginx.get("/i/a")).body == b"new"


class SteppedNginx:
    """The scripts of nginx, by a clock of their own. ``step``: seconds from answer to answer."""

    def __init__(self, step: float, njs: int = 0x000809) -> None:
        self.now, self._step = 1e6, step
        self.scripts = Scripts(lambda: self.now, lambda: self.now, njs)

    def epoch_after_answer(
        self, process: str, settings: str = "same", *, complete_since: float = 0.0, heartbeat: float | None = None
    ) -> str:
        """Return the epoch of an image after a gateway has answered. ``heartbeat``: when its last was sent."""
        self.now += self._step
        question = self.scripts.happen({"kind": "ask"}).question
        seconds = {"now": self.now, "heartbeat": heartbeat or self.now, "complete_since": complete_since}
        times = {name: value * 1000 for name, value in seconds.items()}
        answer = {"gateway": process, "settings": settings, "access": 0, "changes": [], **times}
        self.scripts.happen({"kind": "answer", "question": question, "text": json.dumps(answer)})
        return self.scripts.epoch("a")


def test_no_copy_and_no_decision_is_used_with_an_njs_whose_dictionaries_end_nothing_by_itself() -> None:
    nginx = SteppedNginx(1, njs=0x000804)
    with pytest.raises(quickjs.JSException, match=r"older than 0\.8\.5"):
        nginx.epoch_after_answer("any")
    assert nginx.scripts.epoch("a") == "off"
    assert nginx.scripts.kept("a", "a caller") == ("", "")


def test_processes_that_ended_more_than_a_minute_ago_do_not_delay_that() -> None:
    """nginx keeps the names of all processes that have answered."""
    nginx = SteppedNginx(1)
    for number in range(20):
        nginx.epoch_after_answer(f"ended {number}", "before")
    nginx.now += 60
    nginx.epoch_after_answer("old", "before")
    epochs = [nginx.epoch_after_answer("new", "after") for _ in range(5)]
    assert list(Counter(epochs).values()) == [2, 3], "the floor of the new settings, and after the end of the old ones"
    assert "off" not in epochs


@pytest.mark.parametrize("is_deaf", [True, False])
def test_copies_of_a_gateway_that_was_deaf_while_the_others_were_away_end_with_its_lease(*, is_deaf: bool) -> None:
    """No list has a change of that time: nginx sees it by the heartbeats."""
    nginx = SteppedNginx(0.25)
    for _ in range(12):
        nginx.epoch_after_answer("old")
    last = nginx.now
    nginx.epoch_after_answer("old", heartbeat=last)
    started = nginx.now
    epochs: dict[str, float] = {}
    for _ in range(16):
        epochs.setdefault(nginx.epoch_after_answer("started", complete_since=started), nginx.now - last)
        epochs.setdefault(nginx.epoch_after_answer("old", heartbeat=last if is_deaf else None), nginx.now - last)
    assert list(epochs.values()) == ([0.5, 6.75, 7] if is_deaf else [0.5])
    assert ("off" in epochs) == is_deaf, "until the floor"


@pytest.mark.parametrize("answers_first", ["started", "deaf"])
def test_copies_of_a_gateway_that_fell_deaf_after_the_others_ended_end_with_its_own_lease(answers_first: str) -> None:
    """Its lease ends later than what the last heartbeat before the gap proves."""
    nginx = SteppedNginx(0.25)
    nginx.epoch_after_answer("old")
    last = nginx.now
    nginx.now += 6.25
    answering = {"started": (last + 4, last + 20), "deaf": (last + 1, last + 3)}
    floors: dict[str, float] = {}
    for name in [answers_first, *(["deaf", "started"] * 5), *(["started"] * 20)]:
        since, until = answering[name]
        epoch = nginx.epoch_after_answer(name, complete_since=since, heartbeat=min(nginx.now, until))
        floors.setdefault(epoch, nginx.now - last)
    assert max(floors.values()) > 9, "the deaf one has answered by its rows until then"


def is_complete(gateway: Scripted) -> bool:
    """Return whether nginx asks for less than the gateway has heard, by its margin of 6 s."""
    return int(gateway.asked[-1]["since"]) > (gateway.complete_since or 0) - 4500


async def test_a_gateway_of_before_whose_clock_is_wrong_stops_the_cache(start_njs: StartNjs, gateway: Scripted) -> None:
    gateway.heartbeat_age = None
    nginx = await start_njs(site("gateway-cache.conf", [gateway.address], [gateway.address]))
    await cached_after_start(nginx, gateway)
    gateway.skew = -10_000  # it would list no change of the last four seconds
    await until_unused(nginx)
    await until(lambda: nginx.log.count("no copies: the clock of a gateway differs") == 1)


@pytest.mark.parametrize("status", [400, 404, 503])
async def test_gateways_that_refuse_the_question_stop_the_cache_within_two_seconds(
    start_njs: StartNjs, two: list[Scripted], status: int
) -> None:
    """404: as the previous release does, which has no list."""
    first, second = two
    nginx = await start_njs(site("gateway-cache.conf", [first.address], [first.address, second.address]))
    await cached_after_start(nginx, *two)
    first.status = status
    await until(lambda: first.asked[-1]["now"] > second.asked[0]["now"])
    assert is_hit(await nginx.get("/i/a")), "another gateway has the list"
    second.status = status
    await until_unused(nginx)
    await until(lambda: "does not hear of changes" in nginx.log)
    assert not is_hit(await nginx.get("/i/a"))
    for gateway in two:
        gateway.status = 200
    await until(lambda: nginx.log.count("of all changes again") == 1)
    assert nginx.log.count(f"no copies: a gateway answers with status {status}") == 1
    assert nginx.log.count("does not hear of changes") in (1, 2), "once more if it was said before the use ended"
    assert await cached(nginx, "a") == "old"


async def test_a_gateway_that_does_not_hear_its_heartbeat_stops_the_cache(nginx: Nginx, gateway: Scripted) -> None:
    await cached_after_start(nginx, gateway)
    gateway.heartbeat_age = 14_900
    asked = len(gateway.asked)
    await until(lambda: len(gateway.asked) > asked + 5)
    assert is_hit(await nginx.get("/i/a"))
    gateway.heartbeat_age = 15_001
    await until_unused(nginx)


async def until_unused(nginx: Nginx) -> None:
    """Return when nginx uses no copy of the image ``a``, which must be within two seconds."""

    async def is_unused() -> bool:
        return not is_hit(await nginx.get("/i/a"))

    await until_soon(is_unused, what="the end of copies", seconds=2)


async def test_a_gap_in_every_gateway_stops_the_cache_at_once_and_empties_it(
    start_njs: StartNjs, two: list[Scripted]
) -> None:
    first, second = two
    http = site("gateway-cache.conf", [first.address], [first.address, second.address])
    nginx = await start_njs(http, {"INCOMPLETE = 10000": "INCOMPLETE = 2000"})
    await cached_after_start(nginx, first, second)
    for gateway in two:
        gateway.complete_since = gateway.now() + 3000
    await until_requested_again(nginx, first, first.requests["a"])
    assert not is_hit(await nginx.get("/i/a"))
    await until(lambda: "gap" in floors(*two))
    await until(lambda: "forgets its copies of all images: gap" in nginx.log)


async def test_public_copies_are_sent_while_no_gateway_answers_for_a_limited_time(
    start_njs: StartNjs, gateway: Scripted
) -> None:
    http = site("gateway-cache.conf", ["127.0.0.1:9"], [gateway.address])
    http = http.replace("server 127.0.0.1:9 ", f"server {gateway.address} ")
    nginx = await start_njs(http, {"PUBLIC_WITHOUT_ANSWER = 3600000": "PUBLIC_WITHOUT_ANSWER = 7000"})
    await cached_after_start(nginx, gateway)
    gateway.is_silent = True
    silent = time.monotonic()
    while time.monotonic() < silent + 2:
        assert is_hit(await nginx.get("/i/a"))
        await asyncio.sleep(0.05)
    await until_requested_again(nginx, gateway, gateway.requests["a"])
    assert not is_hit(await nginx.get("/i/a"))
    gateway.is_silent = False
    assert await cached(nginx, "a") == "old"
    await until(lambda: nginx.log.count("of all changes again") == 1)
    assert nginx.log.count("does not hear of changes: no gateway answers") == 1
    assert floors(gateway) == ["start"]


async def test_a_reload_keeps_the_cache_and_a_restart_begins_anew(start_njs: StartNjs, gateway: Scripted) -> None:
    nginx = await start_njs(site("gateway-cache.conf", [gateway.address], [gateway.address]), workers=2)
    await cached_after_start(nginx, gateway)
    nginx.process.send_signal(1)
    await until(lambda: nginx.log.count("gracefully shutting down") >= 2)
    assert is_hit(await nginx.get("/i/a"))
    gateway.set("a", "new")
    await until_is(nginx, "a", "new", seconds=5)
    gateway.images["a"] = "newer"  # nobody hears of it
    await nginx.restart(kill=True)
    assert await cached(nginx, "a") == "newer"
    await until(lambda: floors(gateway) == ["start"] * 2)


async def test_no_client_sees_what_is_for_nginx_alone(nginx: Nginx, gateway: Scripted) -> None:
    await cached_after_start(nginx, gateway)
    for path in ("/i/a", "/api/v1/images/a/access"):
        assert {"X-Decision-For", "X-Image-Epoch"}.isdisjoint((await nginx.get(path)).headers)
