"""How long a test waits for what must come. It goes on as soon as that is there, so a high limit costs nothing."""

# Seconds: far more than it takes on a machine that is many times slower than a developer's, and busy.
LIMIT = 60.0
