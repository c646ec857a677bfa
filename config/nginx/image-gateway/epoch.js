// image-gateway nginx files, version 3
// The epoch of an image, for each request; changes.js sets it. nginx starts this file anew for each request, so it is short.

// Return `off` if no copy may be used or kept: nginx does not know the epoch, or it is younger than 0.3 s, and a gateway may
// not have heard of the change yet. The floor ends by itself.
function epoch(r) {
    const floor = ngx.shared.image_floors.get('public');
    if (!floor || !r.variables.image_id) {
        return 'off';
    }
    const changed = ngx.shared.image_epochs.get(r.variables.image_id);
    return changed && Math.abs(Date.now() - changed) < 300 ? 'off' : changed || floor;
}

export default {epoch};
