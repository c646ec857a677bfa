"""The rules of a transfer, explored: readers that join, are slow and leave, and a COS that fails in every way.

A client never gets a short or a mixed body; memory is bounded; one reader at a time reads for all; a lost body is
resumed by ``If-Match`` as often as the limits say; a URL is renewed once; every reader ends; the last one stops COS.
"""

import inspect
from collections.abc import Generator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from fastcrc import crc64
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gateway.catalog.record import ImageRecord
from gateway.errors import GatewayError
from gateway.objects import renew_on_refusal, transfer_state
from gateway.origin.cos_errors import BodyLost, BodyTooSlow, CosError, PresignedUrlRefused, RowChanged
from gateway.origin.origin_response import AnswerHead, ContentRange, ObjectMetadata
from gateway.presign.signer import PresignedUrl
from gateway.presign.url_lifetime import CLOCK_TOLERANCE
from tests.signed_images import signed_image
from tests.simulation.mutants import Edit, mutated

WINDOW, WHOLE, ALONE, AT_ONCE, BEGINNINGS, KEPT, LARGEST, RESUMES, PROGRESS = 40, 70, 20, 8, 90, 60, 30, 1, 8
LONGEST_PIECE = 24
URL = PresignedUrl("https://cos", 1000, 2000)


@dataclass
class Sent:
    """An answer of COS, and how far its body has come."""

    data: bytes
    head: AnswerHead
    position: int = 0

    def next(self, size: int) -> bytes:
        piece = self.data[self.position : self.position + size]
        self.position += len(piece)
        return piece

    @property
    def shows_a_loss(self) -> bool:
        """Whether an end before the last byte is no clean end."""
        return self.head.length is not None or self.head.crc64 is not None


def version(number: int, size: int) -> bytes:
    """Return the bytes of a version: none is the beginning of another one, and each byte says where it belongs."""
    return bytes((number * 101 + position * 7 + 1) % 251 for position in range(size))


class Body:
    """What ``ObjectBody`` is, with a turn of the machine for each answer and each piece of COS."""

    def __init__(self, machine: "Transfers", state: Any = None) -> None:
        self.machine = machine
        self.state = state
        self.image = machine.image
        self.sent: Sent | None = None
        self.answered_resumes = self.slow = self.received_at_loss = 0
        self.faults: list[str] = []

    def open(self) -> Generator[str, Any, Any]:
        self.sent = yield from self._request(is_sent=False)
        limits = self.machine.module.ResumptionLimits(RESUMES, lambda _: 0.0, PROGRESS)
        self.state = self.machine.module.BodyState(limits, self.sent.head)
        return self.state

    def read(self) -> Generator[str, Any, bytes]:
        while not self.state.is_over:
            try:
                piece: bytes = yield "piece"
                self.state.arrived(piece)
            except BodyLost as loss:
                if self.state.lost(loss) is None:
                    raise
                self.slow += isinstance(loss, BodyTooSlow)
                if self.state.received - self.received_at_loss >= PROGRESS:
                    self.answered_resumes = 0
                self.received_at_loss = self.state.received
                yield from self.rest()
                self.answered_resumes += 1
                assert self.answered_resumes <= RESUMES, "resumed without an end"
                assert self.slow <= 1, "a slow COS is resumed again"
            else:
                return piece
        return b""

    def rest(self) -> Generator[str, Any, None]:
        headers = self.state.rest()
        assert headers["If-Match"] == self.machine.etag, "resumed without the tag of the version"
        end = "" if self.state.length is None else self.machine.kind.size - 1
        assert headers["Range"] == f"bytes={self.machine.begin + self.state.received}-{end}"
        self.sent = yield from self._request(is_sent=True)
        self.state.resumed(self.sent.head)

    def _request(self, *, is_sent: bool) -> Generator[str, Any, Sent]:
        renewal, renewals = self.machine.module.Renewal(), 0
        while True:
            row, checked = self.image.record, self.machine.checked
            assert row == checked or (is_sent and row.is_visible_like(checked)), "access was checked for another row"
            assert row.key == checked.key, "another object"
            try:
                sent: Sent = yield "rest" if is_sent else "head"
            except PresignedUrlRefused as refusal:
                renewal.refused(refusal, self.image.presigned)
                renewals += 1
                is_clock = abs((refusal.error.date or 0) - URL.signed_at) >= CLOCK_TOLERANCE
                assert renewals == 1 or (renewals == 2 and is_clock), "renewed again and again"
                found = yield "row"
                self.image = self.machine.module.renewed_image(self.image, found, is_sent=is_sent)
            else:
                return sent


class Reader:
    """A reader: what it has, what it waits for, and in the end its outcome."""

    def __init__(self, machine: "Transfers") -> None:
        self.machine = machine
        self.received = bytearray()
        self.body: Body = machine.body  # the one that it reads from
        self.is_collapsed = bool(machine.readers)
        self.outcome = ""
        self.wish = ""
        self.life = self._live()
        self.send(None)

    def send(self, value: Any) -> None:
        try:
            self.wish = self.life.throw(value) if isinstance(value, Exception) else self.life.send(value)
        except StopIteration:
            self.wish = ""

    def _live(self) -> Generator[str, Any, None]:
        transfer = self.machine.transfer
        transfer.readers += 1
        try:
            while transfer.body is None:
                yield from self._take_turn(transfer.turn())
            if self.is_collapsed and not transfer.is_shareable:
                return
            yield from self._read()
            self.outcome = "whole"
        except (BodyLost, GatewayError, RowChanged):
            self.outcome = "lost"
        finally:
            self.outcome = self.outcome or "left"
            if self.body is self.machine.body:
                self.machine.leave()

    def _read(self) -> Generator[str, Any, None]:
        transfer, need, number = self.machine.transfer, self.machine.module.Need, 0
        while True:
            piece = transfer.take(number)
            if piece is need.REST:
                assert self.machine.fastest - len(self.received) > WINDOW, "left behind within the window"
                self.body = Body(self.machine, transfer.body.branch(len(self.received)))
                self.machine.leave()
                yield from self.body.rest()
                while piece := (yield from self.body.read()):
                    self.received += piece
                return
            if isinstance(piece, need):
                yield from self._take_turn(piece)
            elif piece:
                self.received += piece
                number += 1
                yield "pace"
            else:
                return

    def _take_turn(self, need: Any) -> Generator[str, Any, None]:
        machine, transfer = self.machine, self.machine.transfer
        if need is machine.module.Need.WAIT:
            yield "turn"
            return
        assert not machine.fetching, "two readers read from COS"
        machine.fetching = self
        try:
            if transfer.body is None:
                body = yield from machine.body.open()
                transfer.opened(body, machine.budget_for(body), machine.shared_prefixes)
                if not body.is_over and body.length is not None and body.length <= AT_ONCE:
                    yield "at once"
            else:
                transfer.arrived((yield from machine.body.read()))
        except Exception as error:
            transfer.ended(error)
            raise
        finally:
            machine.fetching = None
            transfer.passed()
            machine.wake()


MUTANTS = {
    "a short body is complete": ("length not in (None, received) or", ""),
    "a wrong checksum is none": (" or self._expected_checksum not in (None, self._checksum)", ""),
    "the checksum is of a part": ("head.crc64 if head.status == 200 else None", "head.crc64"),
    "the checksum is of a rest": ("self.head._replace(crc64=None)", "self.head"),
    "the rest may be of another version": ("            or head.metadata.etag != expected.strong_etag\n", ""),
    "the rest may begin anywhere": ("            or not covered.is_rest(first, end)\n", ""),
    "the rest needs no range": (
        "            covered is None\n            or not covered",
        "            covered is not None and not covered",
    ),
    "resumed without a condition": (', "If-Match": etag}', ', "If-Match": "*"}'),
    "never resumed": ("if self._resumed >= limits.resumes:", "if True:"),
    "resumed for ever": ("self._resumed += 1  #", "pass  #"),
    "resumed although slow again": ("self._was_slow = True", "self._was_slow = False"),
    "two readers fetch": ("self._is_fetching = True", "self._is_fetching = False"),
    "a reader that leaves keeps its turn": ('wake up."""\n        self._is_fetching = False', 'wake up."""'),
    "no window": ("most = self.limits.window if", "most = 1000 if"),
    "a window of nothing": ("most = self.limits.window if", "most = 0 if"),
    "pieces are dropped that another reader needs": ("if self._dropped and self.readers == 1:", "if self._dropped:"),
    "a beginning is kept beyond its limit": ("not self._may_keep(self._kept_bytes)", "self._kept_bytes > 1000"),
    "no more is kept than a beginning": ("if not self._budget.take(more):", "if True:"),
    "bodies of any size are kept": (" or whole > self.limits.whole", ""),
    "what is kept is not counted": ("self._most_alone += more", "self._most_alone += 2 * more"),
    "a body is kept until its end only": ("if self.keeps_all:  #", "if True:  #"),
    "a body is kept for nobody": (
        "was_lingering = self.is_lingering\n        self._release()",
        "was_lingering = self.is_lingering",
    ),
    "memory is not given back": ("self._budget.taken -= self._reserved", "pass"),
    "a budget has no end": ("if self.taken + size > self.most:", "if False:"),
    "COS goes on without readers": ('self.ended(BodyLost("all readers left"))', "pass"),
    "a new reader may lack the beginning": ("return self._dropped == 0 and self.failure is None", "return True"),
    "a URL is renewed for ever": ("raise outcome from refusal", "return error.clock"),
    "a URL is renewed twice": (
        "and error.date is not None and abs(error.date - presigned.signed_at) >= CLOCK_TOLERANCE",
        "",
    ),
    "the row may have changed": ("if not is_checked or", "if False and"),
    "any caller may see the new row": (
        "is_checked = renewed.record.is_visible_like(image.record) if",
        "is_checked = True if",
    ),
}


# What else may happen to a reader than what it waits for.
OTHERWISE = {
    "head": ["lost", "refused", "refused", "refused", "refused in time", "refused by the clock", "leaves"],
    "rest": ["lost", "changed", "no tag", "shifted", "whole", "refused", "refused", "refused", "leaves"],
    "piece": ["broken", "broken", "slow", "slow", "ends", "leaves"],
    "row": ["owner", "owner", "public", "key", "content_type"],
}
# What a reader does not notice if it happens once.
MENDED = {"broken", "slow", "ends", "refused", "refused in time", "refused by the clock"}


class Event(NamedTuple):
    """A reader gets the next ``size`` bytes that it waits for, or one of ``OTHERWISE``."""

    which: int
    size: int
    otherwise: int | None = None


class Kind(NamedTuple):
    """What an object is, how COS sends it, the bytes that other transfers have taken, and the readers at first."""

    size: int
    part: int
    has_etag: bool
    has_length: bool
    checksum: str
    others: int
    readers: int


KINDS = st.builds(
    Kind,
    size=st.sampled_from([0, 1, AT_ONCE, 25, 65, 65, 130, 250]),
    part=st.sampled_from([0, 0, 20]),
    has_etag=st.sampled_from([True, True, True, False]),
    has_length=st.booleans(),
    checksum=st.sampled_from(["right", "right", "none", "wrong"]),
    others=st.sampled_from([0, 15, 40]),
    readers=st.integers(1, 3),
)


class Transfers(RuleBasedStateMachine):
    """One transfer and its readers."""

    module: ModuleType
    fetching: Reader | None = None
    is_stopped = False
    readers: list[Reader] = []  # noqa: RUF012 - before the first transfer

    @initialize(kind=KINDS)
    def first(self, *, kind: Kind) -> None:
        self.start(kind)

    @rule(kind=KINDS)
    def another(self, *, kind: Kind) -> None:
        self.finish()
        self.start(kind)

    def start(self, kind: Kind) -> None:
        self.kind = kind
        self.begin = kind.part if kind.part < kind.size else 0
        self.etag = '"0"' if kind.has_etag else None
        self.whole = version(0, kind.size)[self.begin :]
        self.checked = ImageRecord("cat", None, True, "bucket", "region", "key", "image/png")
        self.image = signed_image(self.checked, URL)
        self.kept, self.shared_prefixes = self.module.Budget(KEPT), self.module.Budget(BEGINNINGS)
        self.kept.taken, self.shared_prefixes.taken = kind.others, min(kind.others, BEGINNINGS)
        self.others = self.kept.taken, self.shared_prefixes.taken
        self.transfer = self.module.TransferState(self.module.BufferLimits(WINDOW, WHOLE, ALONE, AT_ONCE, BEGINNINGS))
        self.body = Body(self)
        self.is_stopped, self.readers = False, []
        self.join(kind.readers)

    def budget_for(self, body: Any) -> Any:
        is_kept = body.head.status == 200 and body.is_resumable and body.length and body.length <= LARGEST
        return self.kept if is_kept else None

    @property
    def fastest(self) -> int:
        return self.body.state.received if self.body.state is not None else 0

    def leave(self) -> None:
        if self.transfer.left():
            assert not self.is_stopped
            self.is_stopped = True

    def wake(self) -> None:
        for reader in self.readers:
            if reader.wish == "turn":
                reader.wish = "pace"

    def answer(self, number: int, first: int | None, *, has_etag: bool = True) -> Sent:
        """Return COS's answer with that version of the object, from ``first`` on."""
        data, etag = version(number, self.kind.size), f'"{number}"' if self.etag and has_etag else None
        covered = ContentRange(first, self.kind.size - 1, self.kind.size) if first is not None else None
        size = self.kind.size if self.kind.has_length or covered is not None else None
        checksum = {"right": crc64.xz(data), "none": None, "wrong": crc64.xz(data + b".")}[self.kind.checksum]
        metadata = ObjectMetadata(size, etag, None, "image/png", None)
        length = size - (first or 0) if size is not None else None
        head = AnswerHead(206 if covered is not None else 200, metadata, length, covered, checksum)
        return Sent(data[first or 0 :], head)

    def join(self, readers: int) -> None:
        for _ in range(readers):
            if self.transfer.is_joinable and (not self.readers or self.transfer.readers):
                self.readers.append(Reader(self))

    @rule(events=st.binary(min_size=60, max_size=600))
    def happen(self, *, events: bytes) -> None:
        for which, size, otherwise in zip(*[iter(events)] * 3, strict=False):
            able = [reader for reader in self.readers if reader.wish not in ("", "turn")]
            if not able:
                self.finish()
                self.start(self.kind)
            elif otherwise > 225:
                self.join(1 + which % 3)
            else:
                event = Event(which, 1 + size % LONGEST_PIECE, otherwise if otherwise < 90 else None)
                self.serve(able[which % len(able)], event)
            self.check()

    def serve(self, reader: Reader, event: Event) -> None:
        """Let the reader ask for something, and give it that, or something else that may happen."""
        while reader.wish == "pace":
            reader.send(None)
        body, choices = reader.body, OTHERWISE.get(reader.wish, [])
        kind = choices[event.otherwise % len(choices)] if choices and event.otherwise is not None else ""
        body.faults += [kind] if kind not in ("", "leaves") else []
        match reader.wish, kind:
            case _, "leaves":
                reader.life.close()
                reader.wish = ""
            case _, "refused" | "refused in time" | "refused by the clock":
                date = {"refused in time": 1010, "refused by the clock": 5000}.get(kind)
                reader.send(PresignedUrlRefused(CosError(403, "AccessDenied", date=date)))
            case _, "lost" | "broken":
                reader.send(BodyLost(kind))
            case "head", _:
                reader.send(self.answer(0, self.begin or None))
            case "rest", _:
                first = self.begin + body.state.received
                first = {"shifted": first - 1, "whole": None}.get(kind, first)
                reader.send(self.answer(int(kind == "changed"), first, has_etag=kind != "no tag"))
            case "row", _:
                change = {"key": "other", "public": False, "owner": "bob", "content_type": "image/gif"}
                row = replace(self.checked, **{kind: change[kind]}) if kind else self.checked  # type: ignore[arg-type]
                reader.send(signed_image(row, URL))
            case "piece", "slow":
                reader.send(BodyTooSlow("slow"))
            case "piece", _:
                assert body.sent is not None
                is_end = kind == "ends" and body.sent.shows_a_loss
                reader.send(b"" if is_end else body.sent.next(event.size))
            case "at once", _:
                self.send_at_once(event.size % (AT_ONCE + 1))
                reader.send(None)

    def send_at_once(self, size: int) -> None:
        """What ``SharedTransfer`` does with the bytes that came with the header."""
        assert self.body.sent is not None
        try:
            piece = self.body.sent.next(size)
            if piece:
                self.body.state.arrived(piece)
            self.transfer.arrived(piece)
        except BodyLost as error:
            self.transfer.ended(error)

    @invariant()
    def check(self) -> None:
        transfer, readers = self.transfer, self.readers
        for reader in readers:
            assert self.whole.startswith(reader.received), "bytes of another version, or from another place"
            if reader.outcome == "whole":
                assert reader.received == self.whole, "a short body"
                is_checked = self.kind.size and not self.begin and reader.body is self.body
                assert self.kind.checksum != "wrong" or not is_checked, "a wrong checksum"
        assert 0 <= self.kept.taken <= KEPT
        assert 0 <= self.shared_prefixes.taken <= BEGINNINGS
        if transfer.readers and not transfer.keeps_all:
            reserved = self.shared_prefixes.taken - self.others[1]
            most = WINDOW if len(readers) > 1 else AT_ONCE
            assert transfer._kept_bytes <= max(most + LONGEST_PIECE, reserved)
            length = self.body.state.length if self.body.state is not None else None
            assert reserved <= (ALONE if length is None or length > WHOLE else max(ALONE, length))
            has_room = length is not None and length <= WHOLE and self.others[1] + max(ALONE, length) <= BEGINNINGS
            if has_room and not transfer.failure:
                assert transfer.is_joinable, "a reader that joins now asks COS again"
        if not transfer.readers:
            assert transfer.is_over or transfer.failure is not None, "COS goes on without readers"

    def teardown(self) -> None:
        self.finish()

    def finish(self) -> None:
        """Let COS send everything: then every reader must end, and nothing may be kept."""
        if not self.readers:
            return
        while running := [reader for reader in self.readers if reader.wish]:
            able = [reader for reader in running if reader.wish != "turn"]
            assert able, "readers wait for ever"
            self.serve(able[0], Event(0, LONGEST_PIECE))
        assert all(reader.outcome for reader in self.readers)
        for reader in self.readers:
            faults = reader.body.faults
            is_mended = not faults or (faults[0] in MENDED and (self.etag or faults[0].startswith("refused")))
            has_reason = len(faults) > 1 or not is_mended or (self.kind.checksum == "wrong" and not self.begin)
            assert reader.outcome != "lost" or has_reason, "cut off without a reason"
        assert (self.kept.taken, self.shared_prefixes.taken) == self.others, "memory is not given back"
        assert not self.transfer.readers
        self.check()


def explore(module: ModuleType, examples: int) -> None:
    """Run the machine on the rules of ``module``. Raises what a broken rule raises."""
    options = settings(
        max_examples=examples,
        stateful_step_count=8,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    run_state_machine_as_test(type("Machine", (Transfers,), {"module": module}), settings=options)


def rules(*edits: Edit) -> ModuleType:
    """Return one module with the rules of a transfer and of the renewal of its URL, mutated by ``edits``."""
    sources = map(inspect.getsource, (transfer_state, renew_on_refusal))
    module = ModuleType("rules")
    exec(compile(mutated("\n".join(sources), edits), "rules", "exec"), module.__dict__)  # noqa: S102 - our own source
    return module


def test_no_order_of_events_breaks_a_rule() -> None:
    explore(rules(), 150)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_machine_finds_a_missing_rule(mutant: str) -> None:
    module = rules(Edit("gateway.objects", *MUTANTS[mutant]))
    with pytest.raises((AssertionError, AttributeError)):
        explore(module, 500)
