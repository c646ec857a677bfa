"""Only the files decide the settings."""

from tests.settings.conftest import clean_environment

__all__ = ["clean_environment"]
