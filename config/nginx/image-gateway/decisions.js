// image-gateway nginx files, version 5
// Decisions of the gateway, for each request: nginx keeps them until changes.js hears of a change. nginx starts this file anew
// for each request, which takes some microseconds, so it is short.

import crypto from 'crypto';

// As in cache_key_epoch.js.
function private_epoch(r) {
    const id = r.variables.image_id;
    const changed = id && ngx.shared.image_epochs.get(id);
    const floor = ngx.shared.image_floors.get('private');
    if (!id || !floor || (changed && Math.abs(Date.now() - changed) < 300)) {
        return 'off';
    }
    return changed >= floor ? changed : floor;
}

function hash(parts) {
    return crypto.createHash('sha256').update(parts.join('\n')).digest('base64url');
}

// Return two keys of the decision about a request: one for all callers, and one for this caller. Empty: not kept. The keys
// are made before the gateway is asked, so that an answer from before a change has a key from before the change. A link is
// in the address. format=auto depends on Accept, and an encoded query could hide it.
function decision_keys(r) {
    const known = private_epoch(r);
    const address = r.variables.request_uri;
    if (known === 'off' || r.variables.request_method !== 'GET' || /\?(.*%|(.*&)?format=auto(&|$))/.test(address)) {
        return '';
    }
    const about = [known, ngx.shared.image_floors.get('access'), address];
    const headers = r.headersIn;
    const caller = [headers.Authorization, headers.Cookie, r.variables.image_user, r.variables.image_groups];
    return hash(about) + ' ' + hash(about.concat(caller));
}

function keep(r, place, value) {
    const key = (r.variables.image_asked || '').split(' ')[place];
    const seconds = Number(r.variables.upstream_http_x_decision_for);
    if (key && seconds > 0) {
        ngx.shared.image_decisions.set(key, value, Math.min(seconds, 86400) * 1000);
    }
    return '';
}

function kept(r, place) {
    const key = (r.variables.image_asked || '').split(' ')[place];
    return key && ngx.shared.image_decisions.get(key) || '';
}

// private-cache.conf: whether a gateway has allowed this caller to view the image.
function kept_access(r) {
    return kept(r, 1);
}

// The functions that keep or drop return an empty string: nginx's `set` calls them.
function keep_access(r) {
    return r.variables.upstream_status === '200' ? keep(r, 1, 'allowed') : '';
}

// accel.conf: what nginx knows about the object, for requests without range and conditions, which a gateway evaluates.
function is_plain(r) {
    const headers = r.headersIn;
    return !(headers.Range || headers['If-Range'] || headers['If-Match'] || headers['If-None-Match']
             || headers['If-Modified-Since'] || headers['If-Unmodified-Since']);
}

function kept_answer(r) {
    return is_plain(r) ? kept(r, 0) || kept(r, 1) : '';
}

// An image that shared caches may keep is for all callers.
function keep_answer(r) {
    const is_public = /^public\b/.test(r.variables.upstream_http_x_image_cache_control || '');
    return is_plain(r) ? keep(r, is_public ? 0 : 1, r.variables.image_answer) : '';
}

// COS did not return the object of a kept answer.
function drop_answer(r) {
    (r.variables.image_asked || '').split(' ').forEach((key) => key && ngx.shared.image_decisions.delete(key));
    return '';
}

// accel.conf: COS sent something else than the gateway named. An error here ends the request without a response.
function refuse(r) {
    if (r.variables.image_is_refused !== '0') {
        throw new Error('COS did not send the object');
    }
}

export default {
    private_epoch, decision_keys, kept_access, keep_access, kept_answer, keep_answer, drop_answer, refuse,
};
