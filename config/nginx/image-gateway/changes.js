// image-gateway nginx files, version 5
// nginx asks the gateways which images have changed, and forgets its copies of these images. For njs 0.8.5 or newer, in
// the form that Debian's 0.8.9 understands; changes.conf includes it. hearing.js has the rules; cache_key_epoch.js and
// decisions.js have what is done for each request.

import hearing from 'hearing.js';

const VERSION = 5;
const PAUSE = 200;                // between the starts of two questions
const RUN = 1900;                 // of `ask`, which js_periodic starts every 2 s
const MOST_REPORTED = 1000000;    // epochs, with a question

// `image_changes` has the state of hearing.js and lines for the log, `image_counts` a number that grows and the epochs to be
// reported, `image_floors` what requests use and what ends by itself, and `image_epochs` the epochs. Only one worker asks, but
// during a reload so does a worker of before. Each event is applied at once to the state that both share; if both write at the same time, it is as
// if one had not got its answer. Only `incr` changes numbers.
function read() {
    const text = ngx.shared.image_changes.get('state');
    return text ? JSON.parse(text) : hearing.begin();
}

// A number that is greater than every earlier number, even if the clock was set back; usually the time.
function fresh() {
    const now = Date.now();
    const number = ngx.shared.image_counts.incr('last', 1, now);
    return number < now ? ngx.shared.image_counts.incr('last', now - number) : number;
}

// A secret of nginx's workers, by which /changes knows nginx's own questions.
function key() {
    const shared = ngx.shared.image_floors;
    if (!shared.get('key')) {
        shared.add('key', Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('hex'));
    }
    return shared.get('key');
}

function is_own_question(r) {
    return r.headersIn['X-Image-Key'] === key() ? '1' : '';
}

// Let `log` write a line.
function tell(line) {
    ngx.shared.image_changes.set('log ' + fresh(), line);
}

function use(name, value, milliseconds) {
    if (milliseconds) {
        ngx.shared.image_floors.set(name, String(value), milliseconds);
    } else {
        ngx.shared.image_floors.delete(name);
    }
}

// Apply an event, and return the question that is to be asked at once, or null.
function happen(event) {
    if (!(njs.version_number >= 0x000805)) {
        throw new Error('njs ' + njs.version + ' is older than 0.8.5, and would keep what ends by itself');
    }
    const state = read();
    event.now = Date.now();  // after the state was read, which has the time of the last event
    event.number = fresh();
    let result = hearing.hear(state, event);
    const question = result.orders.question;
    const lines = result.orders.log;
    try {
        result.orders.forget.forEach((id) => ngx.shared.image_epochs.set(id, event.number));
        ngx.shared.image_counts.incr('epochs', result.orders.forget.length, 0);
    } catch (error) {
        // zone=image_epochs of changes.conf is too small for the changes.
        result = hearing.hear(result.state, {kind: 'full', now: event.now, number: fresh()});
        lines.push.apply(lines, result.orders.log);
    }
    // In this order a request, or nginx after a crash, never finds an old floor without the epochs.
    ngx.shared.image_changes.set('state', JSON.stringify(result.state));
    const floors = result.orders.floors;
    use('access', floors.access, floors.public);
    use('public', floors.floor, floors.public);
    use('private', floors.floor, floors.private);
    if (result.orders.clear) {
        ngx.shared.image_epochs.clear();
    }
    lines.forEach(tell);
    return question;
}

// Ask a gateway, and return the outcome as an event.
async function outcome_of(question, address) {
    const reported = Math.min(Math.max(ngx.shared.image_counts.get('epochs') || 0, 0), MOST_REPORTED);
    const query = '?since=' + question.since + (question.page ? '' : '&now=' + question.now) + '&epochs=' + reported
        + (question.reason ? '&floor=' + question.reason : '');
    let response, text;
    try {
        response = await ngx.fetch('http://' + address + '/changes' + query, {headers: {'X-Image-Key': key()}});
    } catch (error) {
        return {kind: 'refused', text: 'nginx cannot ask at ' + address + ': ' + error.message};
    }
    const status = response.status;
    if (status !== 200 && !/[0-9]/.test(response.headers.get('X-Image-Answered') || '')) {
        return status === 502 || status === 504 ? {kind: 'silent'}
            : {kind: 'refused', text: 'nginx refuses its own question with status ' + status};
    }
    if (status !== 200) {
        return {kind: 'refused', text: 'a gateway answers with status ' + status};
    }
    try {
        text = await response.text();
    } catch (error) {
        return {kind: 'refused', text: 'an answer is incomplete'};
    }
    try {
        const answer = hearing.parse(text);
        if (ngx.shared.image_counts.incr('epochs', -reported, 0) < 0) {
            ngx.shared.image_counts.set('epochs', 0);
        }
        return {kind: 'answer', answer: answer};
    } catch (error) {
        return {kind: 'refused', text: 'an answer has another form'};
    }
}

async function turn(address) {
    let question = happen({kind: 'ask'});
    while (question) {
        const event = await outcome_of(question, address);
        event.question = question;
        question = happen(event);
    }
}

// Ask five times a second. js_periodic ends what still runs after the interval, so each run asks several times, and returns
// before.
async function ask(session) {
    const address = session.variables.image_changes_address;
    const end = Date.now() + RUN;
    for (;;) {
        const next = Date.now() + PAUSE;
        try {
            await turn(address);
        } catch (error) {
            if (ngx.shared.image_floors.add('told', '1', 60000)) {
                tell('nginx cannot ask for changes: ' + error.message);
            }
        }
        if (next > end) {
            return;
        }
        await new Promise((done) => setTimeout(done, Math.max(next - Date.now(), 1)));
    }
}

// Write the lines of `ask`, whose own location has no log: njs would write a line for each question that cannot be asked.
function log() {
    ngx.shared.image_changes.keys().filter((name) => /^log /.test(name)).sort().forEach((name) => {
        const line = ngx.shared.image_changes.pop(name);
        if (line) {
            // Debian's nginx.conf logs nothing below "error".
            ngx.log(ngx.ERR, 'image-gateway: ' + line);
        }
    });
}

// For operators: what nginx knows.
function status(r) {
    const state = read();
    r.headersOut['Content-Type'] = 'application/json';
    r.return(200, JSON.stringify({
        heard_ms_ago: state.heard ? Date.now() - state.heard : null,
        trouble: state.trouble || null,
        floor: state.floor,
        version: VERSION,
    }) + '\n');
}

export default {ask, log, is_own_question, status};
