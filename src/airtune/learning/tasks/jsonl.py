"""Your own text: JSON Lines with `prompt`, `response` and, where data is to be divided by it, `label`."""

import os
from collections.abc import Iterator
from pathlib import Path

from airtune.errors import InputError, words
from airtune.learning.tasks.example import Example, draw
from airtune.learning.tasks.files import json_records, split_file, text_field
from airtune.randomness import generator
from airtune.scenario import Task


def draw_examples(task: Task, split: str, wanted: int, seed: int) -> list[Example]:
    """From `train.jsonl` and `test.jsonl` in the folder `task.data`, or from the single file of that name.

    Of a single file, lines 1, 11, 21 and so on (blank ones aside) are the test data.
    """
    if not task.data:
        raise InputError("scenario", "task.data", words("nothing"), "a JSON Lines file, or a folder of two")
    file = os.path.expanduser(task.data)
    if os.path.isfile(file):
        examples = _part(Path(file), split)
    else:
        examples = _read(split_file(task.data, split, ".jsonl"))
    return draw(examples, wanted, generator(seed, "jsonl", split))


def _part(path: Path, split: str) -> Iterator[Example]:
    for number, example in enumerate(_read(path)):
        if (number % 10 == 0) == (split == "test"):
            yield example


def _read(path: Path) -> Iterator[Example]:
    for place, record in json_records(path):
        prompt, response = (text_field(path, place, record, field) for field in ("prompt", "response"))
        label = record.get("label", "")
        if isinstance(label, bool) or not isinstance(label, str | int):
            raise InputError(path, f"{place}, label", label, "text or a whole number")
        yield Example(prompt, response, str(label))
