"""The scripts of nginx as they are shipped, run by QuickJS: what njs gives them is made of the simulation's clocks.

``changes.js`` applies events by the rules of ``hearing.js``; ``cache_key_epoch.js`` and ``decisions.js`` say for each
request which copy may be used.
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
    "cache_key_epoch": "epoch",
    "decisions": "decision_keys, kept_answer, keep_answer",
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
    const names = ['changes', 'counts', 'floors', 'epochs', 'decisions'];
    names.forEach((name) => ngx.shared['image_' + name] = new Dictionary());
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
function request_of(image_id, cookie) {
    const variables = {image_id: image_id, request_uri: '/i/' + image_id, request_method: 'GET'};
    return {variables: variables, headersIn: cookie ? {Cookie: cookie} : {}};
}
function epoch_of(image_id, now, passed) {
    wall = now;
    steady = passed;
    return String(cache_key_epoch.epoch(request_of(image_id)));
}
function kept_of(image_id, cookie, now, passed) {
    wall = now;
    steady = passed;
    const request = request_of(image_id, cookie);
    request.variables.image_asked = decisions.decision_keys(request);
    return JSON.stringify([request.variables.image_asked, decisions.kept_answer(request)]);
}
function keep(keys, answer, lasts, cache_control, now, passed) {
    wall = now;
    steady = passed;
    const said = {upstream_http_x_decision_for: lasts, upstream_http_x_image_cache_control: cache_control};
    decisions.keep_answer({variables: Object.assign({image_asked: keys, image_answer: answer}, said), headersIn: {}});
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
    njs: the number of its version.
    """

    def __init__(self, wall: Callable[[], float], steady: Callable[[], float], njs: int = 0x000809) -> None:
        self._clocks = wall, steady
        context = quickjs.Context()
        context.eval(_NJS)
        context.eval(f"const njs = {{version_number: {njs}}};")
        for name, called in _SCRIPTS.items():
            file = f"{name}.js"
            source = edited(file, (_FOLDER / file).read_text())
            source = _EXPORTS.sub(f"return {{{called}}};", _IMPORTS.sub("", source))
            context.eval(f"const {name} = (() => {{{source}}})();")
        self.forget_all = context.get("forget_all")
        self._happen = context.get("happen")
        self._epoch, self._kept, self._keep = map(context.get, ("epoch_of", "kept_of", "keep"))

    def happen(self, event: Mapping[str, Any]) -> Outcome:
        """Apply an event of ``hearing.js``. ``text`` of an ``answer``: the list as a gateway sent it."""
        result = json.loads(self._happen(json.dumps(event), *self._now()))
        return Outcome(result["question"], result["state"]["heard"], result["state"]["trouble"])

    def epoch(self, image_id: str) -> str:
        """Return the part of the keys of copies that changes with the image. ``off``: none may be used or kept."""
        return str(self._epoch(image_id, *self._now()))

    def kept(self, image_id: str, cookie: str) -> tuple[str, str]:
        """Return the keys of a decision, empty if none is kept, and the decision that is kept, if there is any."""
        keys, answer = json.loads(self._kept(image_id, cookie, *self._now()))
        return keys, answer

    def keep(self, keys: str, answer: str, lasts: int, cache_control: str) -> None:
        """Keep a decision for the seconds that a gateway says, as far as its header fields allow."""
        self._keep(keys, answer, str(lasts), cache_control, *self._now())

    def _now(self) -> tuple[float, float]:
        """Return the whole milliseconds of both clocks. Of an integer QuickJS gets only 32 bits."""
        wall, steady = self._clocks
        return float(int(wall() * 1000)), float(int(steady() * 1000))
