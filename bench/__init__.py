"""How fast the gateway is, as ratios to what it is built on and stands beside: ``make bench``."""
