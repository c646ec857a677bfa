"""Purges of caches in front: the addresses of changed images, and the services that drop them."""
