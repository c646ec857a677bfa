// image-gateway nginx files, version 5
// The epoch of an image, which is a part of the keys of its copies, for each request; changes.js sets it. nginx starts this
// file anew for each request, so it is short.

// Return `off` if no copy may be used or kept: nginx does not know the epoch, or it is younger than 0.3 s, and a gateway may
// not have heard of the change yet. The floor ends by itself.
function epoch(r) {
    const id = r.variables.image_id;
    const changed = id && ngx.shared.image_epochs.get(id);  // before the floor, after which changes.js clears the epochs
    const floor = ngx.shared.image_floors.get('public');
    if (!id || !floor || (changed && Math.abs(Date.now() - changed) < 300)) {
        return 'off';
    }
    return changed >= floor ? changed : floor;
}

export default {epoch};
