// image-gateway nginx files, version 3
// The epoch of an image, for each request; changes.js sets it. nginx starts this file anew for each request, so it is short.

// Return `off` if nginx does not know the epoch: then no copy may be used. The floor ends by itself.
function epoch(r) {
    const floor = ngx.shared.image_floors.get('public');
    return floor && r.variables.image_id ? ngx.shared.image_epochs.get(r.variables.image_id) || floor : 'off';
}

export default {epoch};
