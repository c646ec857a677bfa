// image-gateway nginx files, version 5
// What nginx knows of changes, and what follows from an event: rules without nginx, which changes.js carries out.
// tests/simulation runs this file.
//
// The epoch of an image is a number that grows with each change of the image. It is part of the cache keys, so that a
// change makes all copies of the image unreachable at once. The floor is the epoch of each image that has no greater number
// of its own; raising the floor forgets everything. Times are milliseconds of this machine's clock, unless a name ends in
// `_there`: then they are of a gateway's clock. Both clocks are never compared, only how much time has passed in each.

// For how long public copies are sent while no gateway answers: an hour.
const PUBLIC_WITHOUT_ANSWER = 3600000;
// For how long decisions and private copies are used while no gateway answers.
const PRIVATE_WITHOUT_ANSWER = 2000;
// For how long copies are used after the last event: workers of nginx may run while the worker that asks does not.
const ALIVE = 2000;
// After this time without a complete answer, while gateways do answer, the floor is raised.
const INCOMPLETE = 10000;
const DOUBT = 450;       // after this time without a complete answer no copy is used: two gateways answer in turn
const REFUSED = 1500;    // after this time of refusals, by gateways that can be reached, no copy is used
const TROUBLE = 2000;    // after this time without a complete answer the trouble is logged
const LATER = 1000;      // a change may reach one gateway by this time later than another gateway
const REACH = 6000;      // further back than what is needed: more than LONGEST, and as long as gateways trust cached rows
const STEP = 100;        // the clock may be set back by this time without a word
const LONGEST = 2000;    // of a question; a later answer is from before a pause of this process
const HEARTBEAT = 15000; // a gateway whose heartbeat is older does not hear
const UNPROVEN = 6250;   // gateways trust cached rows for six seconds after the last heartbeat that came back to them
const LOST = 4000;       // the clock may lose this time beside that of a gateway: more than LONGEST, less than REACH
const ENDED = 60000;    // a gateway that has not answered for so long has sent nothing since the last process started
// For each gateway that has answered within ENDED: one that has not answered for so long, and twice this at least, has ended.
const GONE = 1000;
const PAGES = 40;        // answers to one question; each has at most 10,000 changes
const MOST_GATEWAYS = 200;  // processes: each worker of a gateway is one

// The state at the start. `turn`: when the last event was. `heard`: all changes before this time are known; 0: none.
// `proven`: the same, as far as heartbeats prove it: a gateway that is deaf notices that seconds later.
// `begun`: when nginx began with an empty cache. `refused`: since when gateways refuse. `stopped`: no copy is used until
// all changes are known. `lapsed`: nobody asked for so long that no copy is used until the next outcome of a question. `told`:
// how much of the trouble is logged. `mixed`: whether gateways of several settings answer. `gateways`: their names, and of
// the last answer of each its time there (`now_there`) and here (`at`), `access` and `settings`; the last one to answer is the last.
function begin() {
    return {turn: 0, floor: 0, access: 0, heard: 0, proven: 0, begun: 0, refused: 0, stopped: false, lapsed: false, trouble: '', told: 0,
            reason: '', gateways: [], mixed: false};
}

function is_time(value) {
    return typeof value === 'number' && value >= 0 && value < 1e15;
}

function is_name(value) {
    return typeof value === 'string' && value.length > 0 && value.length <= 64;
}

function is_change(change) {
    return typeof change === 'object' && change !== null && is_time(change.at)
        && (change.image_id === null || typeof change.image_id === 'string');
}

// Return the answer of a gateway. Throws an error if the text is none.
function parse(text) {
    const answer = JSON.parse(text);
    if (!is_time(answer.now) || !is_time(answer.complete_since) || !is_time(answer.access)
        || !is_name(answer.gateway) || !is_name(answer.settings) || !Array.isArray(answer.changes)
        || !answer.changes.every(is_change) || !(answer.heartbeat === undefined || is_time(answer.heartbeat))
        || (answer.more && !answer.changes.length)) {
        throw new Error('an answer of another form');
    }
    return answer;
}

function raise_floor(state, orders, number, reason) {
    state.floor = number;
    state.reason = reason;
    orders.clear = true;
    orders.log.push('nginx forgets its copies of all images: ' + reason);
}

// All changes before `time` are known.
function is_heard(state, orders, time) {
    state.heard = Math.max(state.heard, time);
    state.refused = 0;
    state.stopped = false;
    state.lapsed = false;
    state.trouble = '';
    if (state.told) {
        state.told = 0;
        orders.log.push('the gateways tell nginx of all changes again');
    }
}

// Log a trouble that lasts, once, and once more when it stops the use of copies.
function is_unheard(state, orders, now, trouble) {
    const level = state.stopped ? 2 : 1;
    state.trouble = trouble;
    if (level > state.told && now - state.heard > TROUBLE) {
        state.told = level;
        orders.log.push('nginx does not hear of changes' + (level > 1 ? ', and uses no copies: ' : ': ') + trouble);
    }
}

// A gateway has answered, but a change may be missing.
function is_incomplete(state, orders, now, trouble) {
    state.refused = 0;
    state.stopped = state.stopped || now - state.heard > DOUBT;
    is_unheard(state, orders, now, trouble);
}

// For how long requests may use copies from now on; 0: not at all.
function floors(state, now) {
    const is_used = state.heard && !state.stopped && !state.lapsed;
    const lasts = (without_answer) => is_used ? Math.max(Math.min(ALIVE, state.heard + without_answer - now), 0) : 0;
    return {floor: state.floor, access: state.access,
            public: lasts(PUBLIC_WITHOUT_ANSWER), private: lasts(PRIVATE_WITHOUT_ANSWER)};
}

// A gateway must have heard all changes since the last complete answer, whichever gateway gave that answer, or since the
// cache was empty.
function question(state, now) {
    const needed = state.heard ? Math.max(state.heard - LATER, state.begun) : now;
    return {since: Math.max(needed - REACH, 0), now: now, asked: now, needed: needed, gateway: '', page: 0,
            reason: state.reason};
}

// Apply what has changed in a gateway since its last answer. Each gateway counts: an image may have been fetched from a
// gateway that had not heard of the change yet.
function apply(state, orders, event, answer, needed_there) {
    const known = state.gateways.filter((gateway) => gateway.name === answer.gateway)[0];
    const after_there = known && known.now_there <= answer.now ? known.now_there + 1 : needed_there;
    const changes = answer.changes.filter((change) => change.at >= after_there);
    if (!known || known.access !== answer.access) {
        state.access = event.number;
    }
    orders.forget = changes.filter((change) => change.image_id !== null).map((change) => change.image_id);
    if (changes.some((change) => change.image_id === null)) {
        raise_floor(state, orders, event.number, 'gap');
    }
    // A process has just started, and its answers depend on other settings than those of a gateway that was there: nginx may
    // have copies of what that gateway answered until it ended.
    if (!known && event.question.page === 0 && state.gateways.some((gateway) => gateway.settings !== answer.settings
                                                                   && event.now - gateway.at <= ENDED)) {
        raise_floor(state, orders, event.number, 'settings');
    }
    if (!answer.more) {  // further pages of the same answer contain older changes than `now`
        state.gateways = state.gateways.filter((gateway) => gateway.name !== answer.gateway).slice(1 - MOST_GATEWAYS);
        state.gateways.push({name: answer.gateway, now_there: answer.now, access: answer.access, settings: answer.settings,
                             at: event.now});
    }
    // Gateways of other settings answer on until they have ended: what they sent meanwhile is forgotten then.
    const present = state.gateways.filter((gateway) => event.now - gateway.at <= ENDED);
    const lately = event.now - Math.max(2, present.length) * GONE;
    const is_mixed = state.gateways.some((gateway) => gateway.settings !== answer.settings && gateway.at >= lately);
    if (state.mixed && !is_mixed) {
        raise_floor(state, orders, event.number, 'settings');
    }
    state.mixed = is_mixed;
}

// Note what the heartbeat of an answer proves. A change that no gateway has heard of, because each was away or deaf, is in no
// list: once gateways that were deaf from before the proof on have noticed it, no copy is used, and when those that fell deaf
// until the answering one began have noticed it, too, the floor is raised. Return whether copies may be used.
function prove(state, orders, event, answer) {
    const proven = answer.heartbeat === undefined ? event.question.asked
        : event.question.asked + answer.heartbeat - answer.now;
    const since = event.now + answer.complete_since - answer.now;
    if (!state.proven || since <= state.proven) {
        state.proven = Math.max(state.proven || 0, proven);
    } else if (since < proven && event.now - since > UNPROVEN) {
        raise_floor(state, orders, event.number, 'gap');
        state.proven = proven;
    }
    return event.now - state.proven <= UNPROVEN;
}

// No copy is used until nginx has begun anew.
function clock_was_set_back(state, orders) {
    state.heard = 0;
    state.proven = 0;
    state.gateways = [];
    orders.log.push('the clock of this machine was set back');
}

function take(state, orders, event) {
    const asked = event.question;
    const answer = event.answer;
    // During a pause of this process only the gateways see it: their times never go back.
    if (state.gateways.some((gateway) => gateway.name === answer.gateway
                                         && answer.now - gateway.now_there > event.now - gateway.at + LOST)) {
        clock_was_set_back(state, orders);
    }
    const took = event.now - asked.asked;
    const needed_there = asked.needed + answer.now - event.now;
    const next = Object.assign({}, asked, {asked: event.now, page: asked.page + 1});
    if (asked.reason === state.reason) {
        state.reason = '';
    }
    // A gateway without heartbeats reads `since` as a time of its own clock.
    const is_listed = answer.heartbeat !== undefined || asked.page > 0 || asked.since <= needed_there;
    const hears = answer.heartbeat === undefined || answer.now - answer.heartbeat <= HEARTBEAT;
    const is_another = asked.page > 0 && answer.gateway !== asked.gateway;
    let is_proven = true;
    if (!is_another) {
        apply(state, orders, event, answer, needed_there);
        is_proven = prove(state, orders, event, answer);
    }
    if (is_another || (answer.more && is_listed)) {
        if (!is_another) {
            next.gateway = answer.gateway;
            next.since = answer.changes[answer.changes.length - 1].at;  // of the gateway's clock: such a question has no `now`
        }
        // The further changes are those of the first gateway, whose turn comes again.
        orders.question = next.page < PAGES ? next : null;
        is_incomplete(state, orders, event.now, 'there are more changes than an answer has');
    } else if (!is_listed) {
        is_incomplete(state, orders, event.now, 'the clock of a gateway differs by more than 6 s');
    } else if (!hears) {
        is_incomplete(state, orders, event.now, 'a gateway does not hear its own heartbeat');
    } else if (is_proven && state.heard >= asked.needed && answer.complete_since < needed_there) {
        is_heard(state, orders, asked.now);
    } else if (answer.complete_since < answer.now - took
               && (orders.clear || !state.heard || event.now - state.heard > INCOMPLETE)) {
        // Nothing is missing from the question on: begin with an empty cache.
        if (!orders.clear) {
            raise_floor(state, orders, event.number, state.begun ? 'gap' : 'start');
        }
        state.begun = asked.now;
        is_heard(state, orders, asked.now);
    } else {
        is_incomplete(state, orders, event.now, 'no gateway that answers has heard all of them');
    }
}

// Return the state after an event, and what is to be done: ask a question at once, forget images (with `event.number` as
// their epoch), let requests use copies for some time, clear the memory for epochs, and log lines.
// event.kind: `ask` (a turn begins), `answer` (of a gateway to event.question), `silent` (no gateway answered), `refused` (a
// gateway, or nginx itself, answered otherwise, as event.text says), `full` (there is no memory for an epoch).
// event.number: greater than that of each earlier event.
function hear(state, event) {
    const orders = {question: null, forget: [], floors: {}, clear: false, log: []};
    const took = event.question ? event.now - event.question.asked : 0;
    if (event.now < state.turn - STEP) {
        clock_was_set_back(state, orders);
    }
    state.lapsed = state.lapsed || event.now - state.turn > ALIVE;
    state.turn = event.now;
    if (event.kind === 'ask') {
        orders.question = question(state, event.now);
    } else if (event.kind === 'full') {
        raise_floor(state, orders, event.number, 'full');
    } else if (took < 0 || took > LONGEST) {
        is_unheard(state, orders, event.now, 'an answer came too late');  // nothing is known of the time since the question
    } else if (event.kind === 'answer') {
        take(state, orders, event);
    } else if (event.kind === 'silent') {
        state.lapsed = false;
        is_unheard(state, orders, event.now, 'no gateway answers');
    } else {
        state.refused = state.refused || event.now;
        state.stopped = state.stopped || event.now - state.refused > REFUSED;
        is_unheard(state, orders, event.now, event.text);
    }
    orders.floors = floors(state, event.now);
    return {state, orders};
}

export default {begin, hear, parse};
