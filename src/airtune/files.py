"""Writing files so that nobody ever reads half of one, whatever is killed or loses power."""

import os
from pathlib import Path

from airtune.errors import InputError, words


def write_whole(file: Path, text: str) -> None:
    """Write a text file in one step: a reader sees the old one or the new one.

    Raises:
        InputError: it cannot be written.
    """
    temporary = file.with_name(f"{file.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        put_in_place(temporary, file)
    except OSError as error:
        raise InputError(file, "", words(error.strerror or "no access"), "a file to write to") from error


def put_in_place(temporary: Path, file: Path) -> None:
    """Make `temporary` the new `file` in one step that is on the disk when this returns."""
    _sync(temporary)
    os.replace(temporary, file)
    _sync(file.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
