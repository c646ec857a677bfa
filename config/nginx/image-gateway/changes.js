// image-gateway nginx files, version 3
// nginx asks the gateways which images have changed, and forgets its copies of these images. For njs 0.8.4 or newer, in
// the form that Debian's 0.8.9 understands; changes.conf includes it.
//
// The epoch of an image is a number that grows with each change of the image. It is part of the cache keys, so that a
// change makes all copies of the image unreachable at once. The floor is the epoch of each image that has no number of its
// own; raising the floor forgets everything. All times are milliseconds of this machine's clock, unless a name ends in
// `_there`: then they are of a gateway's clock.

import crypto from 'crypto';

// For how long public copies are sent while no gateway answers: an hour.
const PUBLIC_WITHOUT_ANSWER = 3600000;
// For how long decisions and private copies are used while no gateway answers.
const PRIVATE_WITHOUT_ANSWER = 2000;
// After this time without a complete answer, while gateways do answer, the floor is raised.
const INCOMPLETE = 10000;

const ADDRESS = 'http://127.0.0.1:9089/changes';  // the server of changes.conf
const PAUSE = 200;                                 // between the starts of two questions
const RUN = 1900;                                  // of `ask`, which js_periodic starts every 2 s
const LATER = 1000;     // a change may reach one gateway by this time later than another gateway
const CLOCKS = 5000;    // clocks of gateways may differ by this time from this clock
const AGAIN = 100;      // a change so near to an answer counts again in the next answer: other processes may hear it later
const PAGES = 40;       // answers to one question; each has at most 10,000 changes
const REASONS = {start: 1, gap: 1, full: 1};

// `image_changes` has the floor and what is known of the gateways, `image_epochs` the epochs, `image_decisions` the answers
// of gateways to requests. Only `ask` writes to the first two, and it runs in one worker.
function read(name) {
    return Number(ngx.shared.image_changes.get(name)) || 0;
}

function write(name, value) {
    ngx.shared.image_changes.set(name, String(value));
}

// A number that is greater than every earlier number, even if the clock was set back.
function fresh() {
    const number = Math.max(Date.now(), read('last') + 1);
    write('last', number);
    return number;
}

function raise_floor(reason) {
    write('floor', fresh());
    ngx.shared.image_epochs.clear();
    write('reason', reason);
    ngx.log(ngx.WARN, 'image-gateway: nginx forgets its copies of all images: ' + reason);
}

function forget(id) {
    write('epochs', read('epochs') + 1);
    try {
        ngx.shared.image_epochs.set(id, fresh());
    } catch (error) {
        raise_floor('full');  // zone=image_epochs of changes.conf is too small for the changes
    }
}

function is_time(value) {
    return typeof value === 'number' && value >= 0 && value < 1e15;
}

function is_change(change) {
    return typeof change === 'object' && change !== null && is_time(change.at)
        && (change.image_id === null || typeof change.image_id === 'string');
}

// Throws an error if the text is not an answer of a gateway.
function parse(text) {
    const answer = JSON.parse(text);
    if (!is_time(answer.now) || !is_time(answer.complete_since) || !is_time(answer.access)
        || !Array.isArray(answer.changes) || !answer.changes.every(is_change)) {
        throw new Error('an answer of another form');
    }
    return answer;
}

// Return the answer of the gateway whose turn it is, with the address of the gateway. Throws an error if there is none.
async function answer_since(since) {
    const epochs = read('epochs');
    const reason = ngx.shared.image_changes.get('reason');
    const floor = REASONS[reason] ? '&floor=' + reason : '';
    const response = await ngx.fetch(ADDRESS + '?since=' + since + '&epochs=' + epochs + floor);
    const text = await response.text();
    if (response.status !== 200) {
        throw new Error('status ' + response.status);
    }
    const answer = parse(text);
    answer.gateway = String(response.headers.get('X-Image-Gateway')).split(', ').pop();
    write('epochs', read('epochs') - epochs);
    if (floor) {
        ngx.shared.image_changes.delete('reason');
    }
    return answer;
}

// Forget the images that the gateway names and has not named before. Each gateway counts: an image may have been fetched
// from a gateway that had not heard of the change yet. `after_there`: for a gateway that has not answered before.
function apply(answer, after_there) {
    const name = 'gateway ' + answer.gateway;
    const known = String(ngx.shared.image_changes.get(name)).split(' ');  // its clock at its last answer, and `access`
    if (Number(known[1]) !== answer.access) {
        write('access', fresh());
    }
    if (Number(known[0]) <= answer.now) {
        after_there = Number(known[0]) - AGAIN;
    }
    let all = false;
    answer.changes.forEach((change) => {
        if (change.at >= after_there && change.image_id === null) {
            all = true;
        } else if (change.at >= after_there) {
            forget(change.image_id);
        }
    });
    if (all) {
        raise_floor('gap');
    }
    // Further pages of the same answer contain older changes than `now`.
    write(name, (answer.more ? known[0] : answer.now) + ' ' + answer.access);
}

function is_heard(time) {
    write('heard', time);
    write('doubt', 0);
    if (ngx.shared.image_changes.get('trouble')) {
        ngx.log(ngx.WARN, 'image-gateway: the gateways tell nginx of all changes again');
        ngx.shared.image_changes.delete('trouble');
    }
}

// Log the trouble once.
function report(trouble) {
    if (ngx.shared.image_changes.get('trouble') !== trouble) {
        ngx.shared.image_changes.set('trouble', trouble);
        ngx.log(ngx.WARN, 'image-gateway: nginx does not hear of changes: ' + trouble);
    }
}

// Ask once. A gateway must have heard all changes since the last complete answer, whichever gateway gave that answer.
async function hear() {
    const heard = read('heard');
    let since = (heard || Date.now()) - LATER - CLOCKS;
    let gateway = null;
    for (let page = 0; page < PAGES; page++) {
        const sent = Date.now();
        const answer = await answer_since(since);
        const needed_there = (heard || sent) - LATER + answer.now - Date.now();
        apply(answer, needed_there);
        gateway = gateway || answer.gateway;
        if (answer.gateway !== gateway) {
            continue;  // the further changes are those of the first gateway, whose turn comes again
        }
        if (answer.more && answer.changes.length) {
            since = answer.changes[answer.changes.length - 1].at;
            continue;
        }
        if (!heard) {
            raise_floor('start');
            is_heard(sent);
        } else if (answer.complete_since <= needed_there) {
            is_heard(sent);
        } else if (Date.now() - heard > INCOMPLETE) {
            raise_floor('gap');
            is_heard(sent);
        } else if (Date.now() - heard > LATER) {
            // A change may be missing: nothing is sent from the cache until a gateway has heard them all.
            write('doubt', 1);
            report('no gateway that answers has heard all of them');
        }
        return;
    }
}

// Ask five times a second. js_periodic would end a question after the interval, so each run asks several times.
async function ask() {
    const end = Date.now() + RUN;
    while (Date.now() < end) {
        const next = Date.now() + PAUSE;
        try {
            await hear();
        } catch (error) {
            report(error.message);
        }
        await new Promise((done) => setTimeout(done, Math.max(next - Date.now(), 1)));
    }
}

// Return the epoch of an image, or `off` if nginx does not know it: then no copy may be used.
function epoch_within(id, time) {
    if (!id || read('doubt') || Math.abs(Date.now() - read('heard')) > time) {
        return 'off';
    }
    return Math.max(read('floor'), ngx.shared.image_epochs.get(id) || 0).toString(36);
}

function epoch(r) {
    return epoch_within(r.variables.image_id, PUBLIC_WITHOUT_ANSWER);
}

function private_epoch(r) {
    return epoch_within(r.variables.image_id, PRIVATE_WITHOUT_ANSWER);
}

function hash(parts) {
    return crypto.createHash('sha256').update(parts.join('\n')).digest('base64url');
}

// Return two keys of the decision about a request: one for all callers, and one for this caller. Empty: not kept. The keys
// are made before the gateway is asked, so that an answer from before a change has a key from before the change. A link is
// in the address. format=auto depends on Accept, and an encoded query could hide it.
function decision_keys(r) {
    const known = private_epoch(r);
    if (known === 'off' || r.variables.request_method !== 'GET'
        || /\?(.*%|(.*&)?format=auto(&|$))/.test(r.variables.request_uri)) {
        return '';
    }
    const about = [known, read('access'), r.variables.request_uri];
    const headers = r.headersIn;
    const caller = [headers.Authorization, headers.Cookie, r.variables.image_user].map((value) => value || '');
    return hash(about) + ' ' + hash(about.concat(caller));
}

function keep(key, value, seconds) {
    try {
        ngx.shared.image_decisions.set(key, value, Math.min(seconds, 86400) * 1000);
    } catch (error) {
        ngx.log(ngx.INFO, 'image-gateway: a decision is not kept: ' + error.message);
    }
}

// private-cache.conf: whether a gateway has just allowed this caller to view the image.
function kept_access(r) {
    const key = (r.variables.image_asked || '').split(' ')[1];
    return key && ngx.shared.image_decisions.get(key) || '';
}

// The following functions act, and return an empty string: nginx's `set` calls them.
function keep_access(r) {
    const key = (r.variables.image_asked || '').split(' ')[1];
    const seconds = Number(r.variables.upstream_http_x_decision_for);
    if (key && seconds > 0 && r.variables.upstream_status === '200') {
        keep(key, 'allowed', seconds);
    }
    return '';
}

// accel.conf: what nginx knows about the object, for requests without range and conditions, which a gateway evaluates.
function is_plain(r) {
    const headers = r.headersIn;
    return !(headers.Range || headers['If-Range'] || headers['If-Match'] || headers['If-None-Match']
             || headers['If-Modified-Since'] || headers['If-Unmodified-Since']);
}

function kept_answer(r) {
    const keys = (r.variables.image_asked || '').split(' ');
    if (keys.length !== 2 || !is_plain(r)) {
        return '';
    }
    return ngx.shared.image_decisions.get(keys[0]) || ngx.shared.image_decisions.get(keys[1]) || '';
}

// An image that shared caches may keep is for all callers.
function keep_answer(r) {
    const keys = (r.variables.image_asked || '').split(' ');
    const seconds = Number(r.variables.upstream_http_x_decision_for);
    if (keys.length === 2 && seconds > 0 && is_plain(r)) {
        const is_public = /^public\b/.test(r.variables.upstream_http_x_image_cache_control || '');
        keep(keys[is_public ? 0 : 1], r.variables.image_answer, seconds);
    }
    return '';
}

// COS did not return the object of a kept answer.
function drop_answer(r) {
    (r.variables.image_asked || '').split(' ').forEach((key) => key && ngx.shared.image_decisions.delete(key));
    return '';
}

export default {
    ask, epoch, private_epoch, decision_keys, kept_access, keep_access, kept_answer, keep_answer, drop_answer,
};
