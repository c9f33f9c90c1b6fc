"""Reading data files record by record; whatever is wrong with them names the file and the line."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airtune.errors import InputError, words


def split_file(data: str, split: str, suffix: str) -> Path:
    """`train` or `test` in the folder `data`, e.g. `data/train.jsonl`."""
    folder = os.path.expanduser(data)
    if not os.path.isdir(folder):
        found = words("a file" if os.path.exists(folder) else "nothing")
        raise InputError(data, "", found, f"a folder with train{suffix} and test{suffix}")
    return Path(folder, f"{split}{suffix}")


def json_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON Lines file, each with its place ("line 3"). Blank lines are skipped."""
    empty = True
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(path, place, line.strip(), "one whole JSON object") from error
        if not isinstance(record, dict):
            raise InputError(path, place, record, "a JSON object")
        empty = False
        yield place, record
    if empty:
        raise InputError(path, "", words("no records"), "a JSON object on each line")


def text_field(path: Path, place: str, record: dict[str, Any], field: str) -> str:
    """A field that must hold some text."""
    value = record.get(field, words("nothing"))
    if not isinstance(value, str) or field not in record or not value.strip():
        raise InputError(path, f"{place}, {field}", value, "text that is not blank")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InputError(path, f"{place}, {field}", words("half of a surrogate pair"), "valid Unicode")
    return value


def csv_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """The rows of a CSV file without header, each with the place where it ends ("line 3")."""
    reader = csv.reader(_lines(path), strict=True)
    empty = True
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise InputError(path, f"line {reader.line_num}", words(str(error)), "a whole CSV row") from error
        if row is None:
            break
        place = f"line {reader.line_num}"
        if row and len(row) != len(columns):
            expected = f"{len(columns)} fields: {', '.join(columns)}"
            raise InputError(path, place, words(f"{len(row)} fields"), expected)
        if row:
            empty = False
            yield place, row
    if empty:
        raise InputError(path, "", words("no rows"), f"rows of {', '.join(columns)}")


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    found = words("bytes that are not UTF-8")
                    raise InputError(path, f"line {number}", found, "text in UTF-8") from error
    except OSError as error:
        raise InputError(path, "", words(type(error).__name__), "a readable file") from error
