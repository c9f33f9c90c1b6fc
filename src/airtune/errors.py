"""The one error type for everything that comes from outside, and its close relative for impossible plans."""

from pathlib import Path


class AirtuneError(Exception):
    """Base of every error a user can cause and mend. `str()` of it is one line."""


class InputError(AirtuneError):
    """Outside text is wrong: says in which file and field, what was found and what was expected."""

    def __init__(self, file: str | Path, field: str, found: object, expected: str) -> None:
        self.file, self.field, self.found, self.expected = str(file), field, found, expected
        place = f"{file}: {field}" if field else str(file)
        super().__init__(f"{place}: found {_short(found)}, expected {expected}")


class ArgumentError(ValueError):
    """An argument is of no use, or not beside others: says which, what was found and what was expected.

    What was found may be the name of another argument.
    """

    def __init__(self, argument: str, found: object, expected: str) -> None:
        self.argument, self.found, self.expected = argument, found, expected
        super().__init__(f"{argument}: found {_short(found)}, expected {expected}")


class InfeasibleError(AirtuneError):
    """No plan exists. Names the client that binds and why."""

    def __init__(self, client: str, reason: str) -> None:
        self.client, self.reason = client, reason
        super().__init__(f"infeasible: client {client}: {reason}")


def tamed(text: str, limit: int = 200) -> str:
    """Anybody's text as it is kept and shown: it has an end, and does nothing to a terminal."""
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 2 * limit])
    return text if len(text) <= limit else f"{text[:limit]}…"


def _short(found: object, limit: int = 80) -> str:
    text = found if isinstance(found, _Words) else repr(found)
    text = " ".join(str(text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


class _Words(str):
    """Text shown as it is, without quotes: a description rather than a value."""


def words(text: str) -> str:
    """Mark `text` as a description ("nothing", "a list") so that `InputError` does not quote it."""
    return _Words(text)
