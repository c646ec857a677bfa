"""Changes reach the edge: what a changed image is purged by, and the services that are told to purge it."""
