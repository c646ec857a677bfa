"""The speed of the gateway, compared with a bare aiohttp server and with nginx: ``make bench``."""
