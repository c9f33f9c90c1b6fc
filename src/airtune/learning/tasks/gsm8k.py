"""GSM8K (Cobbe et al. 2021): grade-school word problems with worked answers that end in `#### N`."""

from collections.abc import Iterator

from airtune.learning.tasks.example import Example, draw
from airtune.learning.tasks.files import json_records, split_file, text_field
from airtune.learning.tasks.hub import hub_rows
from airtune.randomness import generator
from airtune.scenario import Task


def draw_examples(task: Task, split: str, wanted: int, seed: int) -> list[Example]:
    """From `train.jsonl` and `test.jsonl` in the folder `task.data`, or `openai/gsm8k` on the hub.

    The label is the number of steps of the worked answer.
    """
    examples = _from_files(task.data, split) if task.data else _from_hub(split, wanted, seed)
    return draw(examples, wanted, generator(seed, "gsm8k", split))


def problem(question: str, answer: str, label: str) -> Example:
    """A word problem in the format shared by GSM8K and its generated stand-in."""
    return Example(f"Question: {question.strip()}\nAnswer:", f" {answer.strip()}", label)


def _labelled(question: str, answer: str) -> Example:
    steps = len(answer.partition("\n####")[0].strip().splitlines())
    return problem(question, answer, str(steps))


def _from_files(data: str, split: str) -> Iterator[Example]:
    path = split_file(data, split, ".jsonl")
    for place, record in json_records(path):
        question, answer = (text_field(path, place, record, field) for field in ("question", "answer"))
        yield _labelled(question, answer)


def _from_hub(split: str, wanted: int, seed: int) -> Iterator[Example]:
    rows = hub_rows("openai/gsm8k", "main", split, wanted, generator(seed, "gsm8k", "hub", split))
    for row in rows:
        yield _labelled(row["question"], row["answer"])
