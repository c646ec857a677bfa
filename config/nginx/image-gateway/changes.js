// image-gateway nginx files, version 3
// nginx asks the gateways which images have changed, and forgets its copies of these images. For njs 0.8.5 or newer, in
// the form that Debian's 0.8.9 understands; changes.conf includes it. epoch.js and decisions.js have
// what is done for each request.
//
// The epoch of an image is a number that grows with each change of the image. It is part of the cache keys, so that a
// change makes all copies of the image unreachable at once. The floor is the epoch of each image that has no number of its
// own; raising the floor forgets everything. All times are milliseconds of this machine's clock, unless a name ends in
// `_there`: then they are of a gateway's clock.

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
const DOUBT = 450;      // after this time without a complete answer no copy is used: two gateways answer in turn
const PAGES = 40;       // answers to one question; each has at most 10,000 changes
const REASONS = {start: 1, gap: 1, full: 1, settings: 1};

// `image_changes` has the floor, when it was known last, and the settings of the gateways since it was raised, `image_floors`
// what requests use while it is known, and `image_epochs` the epochs. Only `ask` writes to them, and it runs in one worker.
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

// Stop the use of the cache until all changes are known.
function stop() {
    ngx.shared.image_floors.clear();
}

function raise_floor(reason) {
    stop();
    ngx.shared.image_epochs.clear();
    ngx.shared.image_changes.delete('settings');
    write('floor', fresh());
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

function is_name(value) {
    return typeof value === 'string' && value.length > 0 && value.length <= 64;
}

function is_change(change) {
    return typeof change === 'object' && change !== null && is_time(change.at)
        && (change.image_id === null || typeof change.image_id === 'string');
}

// Throws an error if the text is not an answer of a gateway.
function parse(text) {
    const answer = JSON.parse(text);
    if (!is_time(answer.now) || !is_time(answer.complete_since) || !is_time(answer.access)
        || !is_name(answer.gateway) || !is_name(answer.settings) || !Array.isArray(answer.changes) || !answer.changes.every(is_change)) {
        throw new Error('an answer of another form');
    }
    return answer;
}

// Return the answer of the gateway whose turn it is. Throws an error if there is none.
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
    write('epochs', read('epochs') - epochs);
    if (floor) {
        ngx.shared.image_changes.delete('reason');
    }
    return answer;
}

// Forget everything if a process has just started (`is_new`) and its answers depend on other settings than those of the
// gateways since the floor was raised: nginx may have copies of these answers.
function compare_settings(settings, is_new) {
    const heard = ngx.shared.image_changes.get('settings');
    const differ = heard && heard !== settings;
    if (differ && is_new) {
        raise_floor('settings');
    }
    ngx.shared.image_changes.set('settings', differ && !is_new ? 'several' : settings);
}

// Forget the images that the gateway names and has not named before. Each gateway counts: an image may have been fetched
// from a gateway that had not heard of the change yet. `after_there`: for a gateway that has not answered before.
function apply(answer, after_there) {
    const gateways = ngx.shared.image_gateways;
    const known = String(gateways.get(answer.gateway)).split(' ');  // its clock at its last answer, and `access`
    if (Number(known[1]) !== answer.access) {
        stop();
        write('access', fresh());
    }
    if (Number(known[0]) <= answer.now) {
        after_there = Number(known[0]) + 1;  // earlier changes were in that answer
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
    compare_settings(answer.settings, known[1] === undefined);
    // Further pages of the same answer contain older changes than `now`.
    gateways.set(answer.gateway, (answer.more ? known[0] : answer.now) + ' ' + answer.access);
}

// All changes before `time` are known.
function is_heard(time) {
    const age = Date.now() - time;
    const floor = ngx.shared.image_changes.get('floor');
    write('heard', time);
    ngx.shared.image_floors.set('access', ngx.shared.image_changes.get('access'), PUBLIC_WITHOUT_ANSWER);
    ngx.shared.image_floors.set('public', floor, Math.max(PUBLIC_WITHOUT_ANSWER - age, 1));
    ngx.shared.image_floors.set('private', floor, Math.max(PRIVATE_WITHOUT_ANSWER - age, 1));
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

// Ask once. A gateway must have heard all changes since the last complete answer, whichever gateway gave that answer, or
// since the cache was empty.
async function hear() {
    const heard = read('heard');
    const needed = Math.max(heard - LATER, read('begun')) || Date.now();
    let since = needed - LATER - CLOCKS;
    let gateway = null;
    for (let page = 0; page < PAGES; page++) {
        const sent = Date.now();
        const answer = await answer_since(since);
        const needed_there = needed + answer.now - Date.now();
        apply(answer, needed_there);
        gateway = gateway || answer.gateway;
        if (answer.gateway !== gateway) {
            continue;  // the further changes are those of the first gateway, whose turn comes again
        }
        if (answer.more && answer.changes.length) {
            since = answer.changes[answer.changes.length - 1].at;
            continue;
        }
        if (heard && answer.complete_since <= needed_there) {
            is_heard(sent);
        } else if (!heard || Date.now() - heard > INCOMPLETE) {
            raise_floor(heard ? 'gap' : 'start');
            write('begun', sent);
            is_heard(sent);
        } else if (Date.now() - heard > DOUBT) {
            // A change may be missing: nothing is sent from the cache until a gateway has heard them all.
            stop();
            report('no gateway that answers has heard all of them');
        }
        return;
    }
}

// Ask five times a second. js_periodic ends what still runs after the interval, so each run asks several times, and returns
// before.
async function ask() {
    const end = Date.now() + RUN;
    for (;;) {
        const next = Date.now() + PAUSE;
        try {
            await hear();
        } catch (error) {
            report(error.message);
        }
        if (next > end) {
            return;
        }
        await new Promise((done) => setTimeout(done, Math.max(next - Date.now(), 1)));
    }
}

export default {ask};
