"""The scripts of nginx as they are shipped, run by QuickJS: what njs gives them is made of the simulation's clocks.

``changes.js`` applies events by the rules of ``hearing.js``; ``epoch.js`` and ``decisions.js`` say for each request
which copy may be used.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import quickjs

from tests.simulation.mutants import edited

_FOLDER: Final = Path(__file__).parents[2] / "config" / "nginx" / "image-gateway"
# Each script with the functions that the simulation calls. Those of changes.js that ask are its own: `Nginx` asks.
_SCRIPTS: Final = {
    "hearing": "begin, hear, parse",
    "changes": "happen",
    "epoch": "epoch",
    "decisions": "decision_keys",
}
_IMPORTS: Final = re.compile(r"^import .*", re.MULTILINE)
_EXPORTS: Final = re.compile(r"^export default \{.*?\};", re.MULTILINE | re.DOTALL)
# Strings are joined, since the result of a long `+` is no string that Python could get.
_NJS: Final = """
let wall = 0, steady = 0;
Date.now = () => wall;
class Dictionary {
    constructor() { this.values = new Map(); }
    get(name) {
        const [value, end] = this.values.get(name) || [];
        return end > steady ? value : undefined;
    }
    set(name, value, lasts) { this.values.set(name, [value, lasts ? steady + lasts : Infinity]); }
    delete(name) { this.values.delete(name); }
    clear() { this.values.clear(); }
    incr(name, more, first) {
        const value = this.get(name);
        this.set(name, (value === undefined ? first : value) + more);
        return this.get(name);
    }
}
const crypto = {createHash: () => ({update: (text) => ({digest: () => encodeURIComponent(text)})})};
globalThis.ngx = {shared: {}};
function forget_all() {
    ['changes', 'counts', 'floors', 'epochs'].forEach((name) => ngx.shared['image_' + name] = new Dictionary());
}
forget_all();
function happen(text, now, passed) {
    wall = now;
    steady = passed;
    const event = JSON.parse(text);
    if (event.text !== undefined && event.kind === 'answer') {
        event.answer = hearing.parse(event.text);
    }
    const question = JSON.stringify(changes.happen(event));
    return ['{"question": ', question, ', "state": ', ngx.shared.image_changes.get('state'), '}'].join('');
}
function key_of(image_id, keeps_decisions, now, passed) {
    wall = now;
    steady = passed;
    const variables = {image_id: image_id, request_uri: '/i/' + image_id, request_method: 'GET'};
    const request = {variables: variables, headersIn: {}};
    if (keeps_decisions) {
        return decisions.decision_keys(request).split(' ')[1] || '';
    }
    const known = epoch.epoch(request);
    return known === 'off' ? '' : [known, image_id].join(' ');
}
"""


class Outcome(NamedTuple):
    """What an event leads to: the question to ask at once, and until when nginx has heard of all changes."""

    question: Mapping[str, Any] | None
    heard: int
    trouble: str


class Scripts:
    """The scripts of an nginx, with the dictionaries that its workers share.

    wall, steady: the clocks of its machine in seconds. What is kept for some time ends by the second.
    """

    def __init__(self, wall: Callable[[], float], steady: Callable[[], float]) -> None:
        self._clocks = wall, steady
        context = quickjs.Context()
        context.eval(_NJS)
        for name, called in _SCRIPTS.items():
            file = f"{name}.js"
            source = edited(file, (_FOLDER / file).read_text())
            source = _EXPORTS.sub(f"return {{{called}}};", _IMPORTS.sub("", source))
            context.eval(f"const {name} = (() => {{{source}}})();")
        self.forget_all = context.get("forget_all")
        self._happen = context.get("happen")
        self._key = context.get("key_of")

    def happen(self, event: Mapping[str, Any]) -> Outcome:
        """Apply an event of ``hearing.js``. ``text`` of an ``answer``: the list as a gateway sent it."""
        result = json.loads(self._happen(json.dumps(event), *self._now()))
        return Outcome(result["question"], result["state"]["heard"], result["state"]["trouble"])

    def key(self, image_id: str, *, keeps_decisions: bool) -> str:
        """Return the key of the copies of an image, or of the decisions about it. Empty: none may be used or kept."""
        return str(self._key(image_id, keeps_decisions, *self._now()))

    def _now(self) -> tuple[float, float]:
        """Return the whole milliseconds of both clocks. Of an integer QuickJS gets only 32 bits."""
        wall, steady = self._clocks
        return float(int(wall() * 1000)), float(int(steady() * 1000))
