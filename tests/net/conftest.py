"""A service with answers that the test sets."""

from tests.answering import service

__all__ = ["service"]
