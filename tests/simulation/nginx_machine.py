"""What nginx knows of changes, and what follows from an event: the rules of ``image-gateway/hearing.js``, line by line.

Times are milliseconds of the clock of nginx's machine; those whose name ends in ``_there`` are of a gateway's clock.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, NotRequired, TypedDict

PUBLIC_WITHOUT_ANSWER = 3_600_000
PRIVATE_WITHOUT_ANSWER = 2000
ALIVE = 2000
INCOMPLETE = 10_000
DOUBT = 450
REFUSED = 1500
TROUBLE = 2000
LATER = 1000
REACH = 6000
STEP = 100
LONGEST = 2000
HEARTBEAT = 15_000
LOST = 4000
ENDED = 60_000
PAGES = 40
MOST_GATEWAYS = 200


class ListedChange(TypedDict):
    """A change of an image; of every image without an id."""

    image_id: str | None
    at: int


class ListAnswer(TypedDict):
    """The answer of a gateway to ``GET /api/v1/changes``."""

    gateway: str
    now: int
    complete_since: int
    changes: list[ListedChange]
    access: int
    settings: str
    heartbeat: NotRequired[int]
    more: NotRequired[bool]


@dataclass(slots=True)
class State:
    """What nginx keeps in a shared dictionary, which survives a reload. ``hearing.js`` explains the fields."""

    turn: int = 0
    floor: int = 0
    access: int = 0
    heard: int = 0
    begun: int = 0
    refused: int = 0
    stopped: bool = False
    lapsed: bool = False
    trouble: str = ""
    told: int = 0
    reason: str = ""
    gateways: list[tuple[str, int, int, str, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Question:
    """A question to a gateway. With ``page`` above 0, ``since`` is of the gateway's clock, and ``now`` is not sent.

    now: when the first page was asked for.
    asked: when this page was asked for.
    needed: from when on a gateway must have heard all changes.
    """

    since: int
    now: int
    asked: int
    needed: int
    gateway: str
    page: int
    reason: str


@dataclass(frozen=True, slots=True)
class Event:
    """A turn begins, a question has an outcome, or the memory for epochs is full.

    number: greater than that of each earlier event.
    text: what was answered, for ``refused``.
    """

    kind: Literal["ask", "answer", "silent", "refused", "full"]
    now: int
    number: int = 0
    question: Question | None = None
    answer: ListAnswer | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Floors:
    """The floor and the number of the rights, and for how many milliseconds requests may use copies; 0: not at all."""

    floor: int = 0
    access: int = 0
    public: int = 0
    private: int = 0


@dataclass(slots=True)
class Orders:
    """What is to be done.

    question: to be asked at once.
    forget: images whose epoch becomes the number of the event.
    clear: whether no image has an epoch any more.
    """

    question: Question | None = None
    forget: list[str] = field(default_factory=list)
    floors: Floors = Floors()
    clear: bool = False
    log: list[str] = field(default_factory=list)


def hear(before: State, event: Event) -> tuple[State, Orders]:
    """Return the state after an event, and what is to be done."""
    state, orders = replace(before, gateways=list(before.gateways)), Orders()
    took = event.now - event.question.asked if event.question is not None else 0
    if event.now < state.turn - STEP:
        _clock_was_set_back(state, orders)
    state.lapsed = state.lapsed or event.now - state.turn > ALIVE
    state.turn = event.now
    if event.kind == "ask":
        orders.question = _question(state, event.now)
    elif event.kind == "full":
        _raise_floor(state, orders, event.number, "full")
    elif took < 0 or took > LONGEST:
        _is_unheard(state, orders, event.now, "an answer came too late")
    elif event.kind == "answer":
        assert event.question is not None
        assert event.answer is not None
        _take(state, orders, event, event.question, event.answer)
    elif event.kind == "silent":
        state.lapsed = False
        _is_unheard(state, orders, event.now, "no gateway answers")
    else:
        state.refused = state.refused or event.now
        state.stopped = state.stopped or event.now - state.refused > REFUSED
        _is_unheard(state, orders, event.now, event.text)
    orders.floors = _floors(state, event.now)
    return state, orders


def epoch(floor: int | None, changed: int | None, now: int) -> int | None:
    """Return the epoch of an image in the keys of copies, as ``epoch.js`` does. None: no copy is used or kept."""
    if floor is None or (changed is not None and abs(now - changed) < 300):
        return None
    return floor if changed is None else max(changed, floor)


def _raise_floor(state: State, orders: Orders, number: int, reason: str) -> None:
    state.floor = number
    state.reason = reason
    orders.clear = True
    orders.log.append(f"nginx forgets its copies of all images: {reason}")


def _is_heard(state: State, orders: Orders, time: int) -> None:
    state.heard = max(state.heard, time)
    state.refused = 0
    state.stopped = False
    state.lapsed = False
    state.trouble = ""
    if state.told:
        state.told = 0
        orders.log.append("the gateways tell nginx of all changes again")


def _is_unheard(state: State, orders: Orders, now: int, trouble: str) -> None:
    level = 2 if state.stopped else 1
    state.trouble = trouble
    if level > state.told and now - state.heard > TROUBLE:
        state.told = level
        consequence = ", and uses no copies: " if level > 1 else ": "
        orders.log.append(f"nginx does not hear of changes{consequence}{trouble}")


def _is_incomplete(state: State, orders: Orders, now: int, trouble: str) -> None:
    state.refused = 0
    state.stopped = state.stopped or now - state.heard > DOUBT
    _is_unheard(state, orders, now, trouble)


def _floors(state: State, now: int) -> Floors:
    is_used = state.heard and not state.stopped and not state.lapsed

    def lasts(without_answer: int) -> int:
        return max(min(ALIVE, state.heard + without_answer - now), 0) if is_used else 0

    return Floors(state.floor, state.access, lasts(PUBLIC_WITHOUT_ANSWER), lasts(PRIVATE_WITHOUT_ANSWER))


def _question(state: State, now: int) -> Question:
    needed = max(state.heard - LATER, state.begun) if state.heard else now
    return Question(max(needed - REACH, 0), now, now, needed, "", 0, state.reason)


def _apply(state: State, orders: Orders, event: Event, page: int, answer: ListAnswer, needed_there: int) -> None:
    known = next((gateway for gateway in state.gateways if gateway[0] == answer["gateway"]), None)
    after_there = known[1] + 1 if known is not None and known[1] <= answer["now"] else needed_there
    changes = [change["image_id"] for change in answer["changes"] if change["at"] >= after_there]
    if known is None or known[2] != answer["access"]:
        state.access = event.number
    orders.forget = [image_id for image_id in changes if image_id is not None]
    if None in changes:
        _raise_floor(state, orders, event.number, "gap")
    differing = (gateway for gateway in state.gateways if gateway[3] != answer["settings"])
    if known is None and page == 0 and any(event.now - gateway[4] <= ENDED for gateway in differing):
        _raise_floor(state, orders, event.number, "settings")
    if not answer.get("more"):
        others = [gateway for gateway in state.gateways if gateway[0] != answer["gateway"]]
        now = (answer["gateway"], answer["now"], answer["access"], answer["settings"], event.now)
        state.gateways = [*others[1 - MOST_GATEWAYS :], now]


def _clock_was_set_back(state: State, orders: Orders) -> None:
    state.heard = 0
    state.gateways = []
    orders.log.append("the clock of this machine was set back")


def _take(state: State, orders: Orders, event: Event, asked: Question, answer: ListAnswer) -> None:
    lost = (
        answer["now"] - gateway[1] - (event.now - gateway[4])
        for gateway in state.gateways
        if gateway[0] == answer["gateway"]
    )
    if any(time > LOST for time in lost):
        _clock_was_set_back(state, orders)
    took = event.now - asked.asked
    needed_there = asked.needed + answer["now"] - event.now
    following = replace(asked, asked=event.now, page=asked.page + 1)
    if asked.reason == state.reason:
        state.reason = ""
    heartbeat = answer.get("heartbeat")
    is_listed = heartbeat is not None or asked.page > 0 or asked.since <= needed_there
    hears = heartbeat is None or answer["now"] - heartbeat <= HEARTBEAT
    is_another = asked.page > 0 and answer["gateway"] != asked.gateway
    if not is_another:
        _apply(state, orders, event, asked.page, answer, needed_there)
    if is_another or (answer.get("more") and is_listed):
        if not is_another:
            following = replace(following, gateway=answer["gateway"], since=answer["changes"][-1]["at"])
        orders.question = following if following.page < PAGES else None
        _is_incomplete(state, orders, event.now, "there are more changes than an answer has")
    elif not is_listed:
        _is_incomplete(state, orders, event.now, "the clock of a gateway differs by more than 6 s")
    elif not hears:
        _is_incomplete(state, orders, event.now, "a gateway does not hear its own heartbeat")
    elif state.heard >= asked.needed and answer["complete_since"] < needed_there:
        _is_heard(state, orders, asked.now)
    elif answer["complete_since"] < answer["now"] - took and (
        orders.clear or not state.heard or event.now - state.heard > INCOMPLETE
    ):
        if not orders.clear:
            _raise_floor(state, orders, event.number, "gap" if state.begun else "start")
        state.begun = asked.now
        _is_heard(state, orders, asked.now)
    else:
        _is_incomplete(state, orders, event.now, "no gateway that answers has heard all of them")
