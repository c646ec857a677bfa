"""The rules of ``hearing.js`` and their twin in Python, which the simulation uses, agree on generated traces."""

import json
import random
import subprocess
from collections.abc import Iterator
from typing import Any

from tests.nginx.conftest import CONFIG
from tests.simulation.nginx_machine import Event, ListAnswer, Orders, Question, State, hear

TRACES, EVENTS = 2000, 30
NODE = """
import {readFileSync} from 'fs';
const source = readFileSync(process.argv[1], 'utf-8');
const {begin, hear} = (await import('data:text/javascript,' + encodeURIComponent(source))).default;
for (const trace of JSON.parse(readFileSync(0, 'utf-8'))) {
    let state = begin();
    const steps = trace.map((event) => {
        const result = hear(JSON.parse(JSON.stringify(state)), event);
        state = result.state;
        return result;
    });
    console.log(JSON.stringify(steps));
}
"""
LINES = {
    "the clock of this machine was set back",
    "the gateways tell nginx of all changes again",
    *(f"nginx forgets its copies of all images: {reason}" for reason in ("start", "gap", "full", "settings")),
    "nginx does not hear of changes: no gateway answers",
    *(
        f"nginx does not hear of changes, and uses no copies: {trouble}"
        for trouble in (
            "a gateway does not hear its own heartbeat",
            "no gateway that answers has heard all of them",
            "the clock of a gateway differs by more than 6 s",
            "there are more changes than an answer has",
            "status 400",
        )
    ),
}


class Trace:
    """Events as nginx may meet them: gateways with clocks of their own, lost and late answers, steps of the clock."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - no secret
        self.now = self.random.choice((1000, 1_764_390_000_000))
        self.skews = [self.random.choice((0, 0, -10_000, 10_000, 3_600_000)) for _ in range(3)]
        self.names = self.random.choice((["a", "b", "c"], ["a", "a", "a"], ["d", "e", "e"]))
        self.faults = self.random.choice((0.02, 0.3, 0.9))
        self.asked: list[Question] = []
        self.answered = [0]  # times of gateways at which they answered

    def events(self) -> Iterator[tuple[Event, State, Orders]]:
        """Yield events, with the states and orders that they lead to."""
        state = State()
        for number in range(EVENTS):
            self._pass_time()
            event = self._event(number)
            state, orders = hear(state, event)
            if orders.question is not None:
                self.asked.append(orders.question)
            yield event, state, orders

    def _is_fault(self) -> bool:
        return self.random.random() < self.faults

    def _pass_time(self) -> None:
        self.now += self.random.choice((0, 1, 5, 200, 200, 450, 600))
        if self._is_fault():
            self.now += self.random.choice((1999, 2001, 11_000, 3_700_000, -50, -150, -90_000))
            self.now = max(self.now, 1)

    def _event(self, number: int) -> Event:
        number += self.now
        if not self.asked or self.random.random() < 0.1:
            kind = "full" if self._is_fault() and self._is_fault() else "ask"
            return Event(kind, self.now, number)  # type: ignore[arg-type]
        question = self.asked.pop(self.random.randrange(len(self.asked)))
        if not self._is_fault():
            return Event("answer", self.now, number, question, self._answer(question))
        kind = self.random.choice(("silent", "refused", "answer"))
        text = "status 400" if kind == "refused" else ""
        answer = self._answer(question) if kind == "answer" else None
        return Event(kind, self.now, number, question, answer, text)  # type: ignore[arg-type]

    def _answer(self, question: Question) -> ListAnswer:
        which = self.random.randrange(3)
        there = self.now + 5_000_000 + self.skews[which]
        if self.skews[which] in (0, -10_000) and which:
            there -= 5_000_000  # so that clocks agree
        complete = self.random.choice((0, 1, 900, 3000)) if self._is_fault() else 100_000_000
        answer: ListAnswer = {
            "gateway": self.names[which],
            "now": there,
            "complete_since": max(there - complete, 0),
            "changes": [
                {
                    "image_id": self.random.choice(("x", "y", "z")),
                    "at": self.random.choice((there - self.random.randrange(8000), *self.answered[-2:])),
                }
                for _ in range(self.random.randrange(4))
            ],
            "access": self.random.randrange(2) if self._is_fault() else 0,
            "settings": self.random.choice(("s", "t")) if self._is_fault() else "s",
        }
        answer["changes"].sort(key=lambda change: change["at"])
        if answer["changes"] and self._is_fault():
            answer["changes"][0]["image_id"] = None
        if answer["changes"] and (self._is_fault() or (question.page and self.random.random() < 0.5)):
            answer["more"] = True
        self.answered.append(there)
        if which != 2:
            answer["heartbeat"] = there - (self.random.choice((15_000, 15_001)) if self._is_fault() else 2000)
        return answer


def as_json(value: Any) -> str:
    """Return events, states and orders as JavaScript has them."""
    return json.dumps(value, default=lambda part: {name: getattr(part, name) for name in part.__slots__})


def test_both_machines_have_the_same_states_and_orders() -> None:
    traces = [list(Trace(seed).events()) for seed in range(TRACES)]
    ran = subprocess.run(
        ["node", "--input-type=module", "-e", NODE, str(CONFIG / "image-gateway" / "hearing.js")],
        input=as_json([[event for event, _, _ in trace] for trace in traces]),
        capture_output=True,
        text=True,
        check=True,
    )
    seen: set[str] = set()
    for seed, (trace, line) in enumerate(zip(traces, ran.stdout.splitlines(), strict=True)):
        expected = json.loads(as_json([{"state": state, "orders": orders} for _, state, orders in trace]))
        for number, (found, step) in enumerate(zip(json.loads(line), expected, strict=True)):
            assert found == step, (seed, number, trace[number][0])
            seen.update(step["orders"]["log"])
    assert seen >= LINES
