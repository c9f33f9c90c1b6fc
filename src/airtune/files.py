"""Writing files so that nobody ever reads half of one."""

import os
from pathlib import Path

from airtune.errors import InputError, words


def write_whole(file: Path, text: str) -> None:
    """Write a file in one step: a reader sees the old one or the new one.

    Raises:
        InputError: it cannot be written.
    """
    temporary = file.with_name(f"{file.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, file)
    except OSError as error:
        raise InputError(file, "", words(error.strerror or "no access"), "a file to write to") from error
