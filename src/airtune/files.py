"""Files and folders that processes share: nobody reads half a file, and one at a time works in a folder."""

import fcntl
import os
from pathlib import Path
from typing import IO

from airtune.errors import AirtuneError, InputError, words

LOCK = ".lock"


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
        raise _unwritable(file, error) from error


def put_in_place(temporary: Path, file: Path) -> None:
    """Make `temporary` the new `file` in one step that is on the disk when this returns."""
    _sync(temporary)
    os.replace(temporary, file)
    _sync(file.parent)


def made_folder(directory: Path) -> set[str]:
    """Make a folder, unless it is there already, and return the names of what lies in it.

    Raises:
        InputError: it cannot be made or looked into.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return {entry.name for entry in directory.iterdir()}
    except OSError as error:
        found = words(error.strerror or "no access")
        raise InputError(directory, "", found, "a folder to write to") from error


def held_alone(directory: Path, doing: str) -> IO[str]:
    """Keep other processes out of a folder while the returned file, its `LOCK`, is open.

    Args:
        doing: what the process does there, for the error that others get: "running".

    Raises:
        AirtuneError: another process holds it.
        InputError: the file cannot be written to.
    """
    file = directory / LOCK
    try:
        held = file.open("w")
    except OSError as error:
        raise _unwritable(file, error) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise AirtuneError(f"{directory}: another process is {doing} here") from error
    return held


def _unwritable(file: Path, error: OSError) -> InputError:
    return InputError(file, "", words(error.strerror or "no access"), "a file to write to")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def new_folder(name: str) -> Path:
    """runs/NAME, or runs/NAME-2 and so on: a run never lands on top of another."""
    folder, number = Path("runs") / name, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder
