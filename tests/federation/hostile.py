"""Malformed replies, reports and files, and what becomes of them.

Every maker takes a `random.Random`, so that a number names a case. All of it has to end in something read or
in a one-line error; anything else is an offence.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import FrameType
from typing import NamedTuple

from hostile_folders import hostile_file, hostile_folder, valid
from hostile_replies import hostile_reply, hostile_report

from airtune.errors import AirtuneError

LONGEST_S = 60  # for one case, on a busy machine; most take milliseconds
MOST_CHARACTERS = 600  # of an error
CASES = {"reply": hostile_reply, "report": hostile_report, "file": hostile_file, "folder": hostile_folder}


class Outcome(NamedTuple):
    """How a case ended: "read", or the beginning of an error. `offence` is empty where all is well."""

    kind: str
    offence: str


def outcome(case: Callable[[Random], str], random: Random) -> Outcome:
    """Play a case, whatever comes of it."""
    valid()  # takes seconds the first time
    try:
        with _limit(LONGEST_S):
            return Outcome(case(random), "")
    except AirtuneError as error:
        text = str(error)
        if len(text.splitlines()) != 1 or len(text) > MOST_CHARACTERS or not text.isprintable():
            return Outcome("offence", f"no line: {text[:200]!r}")
        return Outcome(" ".join(word for word in text.split() if "/" not in word)[:60], "")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return Outcome("offence", f"{type(error).__name__}: {error}"[:300])


@contextmanager
def _limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in what takes longer."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
