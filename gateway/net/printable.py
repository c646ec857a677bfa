"""Text of others that is safe to print: a line without control characters."""


def printable(text: str) -> str:
    """Return ``text`` with ``?`` for each unprintable character: one line, which cannot control a terminal."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
