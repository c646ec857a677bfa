"""Untrusted text that is safe to print: a line without control characters."""


def printable(text: str) -> str:
    """Return ``text`` as a line with ``?`` for each unprintable character, so that it cannot control a terminal."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
