"""The tier in a real Redis, and a clock to sign by."""

from tests.tier import clock, tier

__all__ = ["clock", "tier"]
