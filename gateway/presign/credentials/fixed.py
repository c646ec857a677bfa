"""Sources of credentials that do not change while the process runs: the configuration and the environment."""

from gateway.presign.credentials import Credentials


class FixedSource:
    """One set of credentials; a token among them may still end."""

    poll: float | None = None

    def __init__(self, name: str, credentials: Credentials) -> None:
        self.name = name
        self._credentials = credentials

    async def fetch(self) -> Credentials:
        """Return the set."""
        return self._credentials
