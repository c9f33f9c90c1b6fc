"""Yahoo! Answers Topics (Zhang et al. 2015): questions people asked, with topic and best answer."""

from collections.abc import Iterator

from airtune.errors import InputError
from airtune.learning.tasks.example import Example, draw
from airtune.learning.tasks.files import csv_rows, split_file
from airtune.learning.tasks.hub import hub_rows
from airtune.randomness import generator
from airtune.scenario import Task

COLUMNS = ("class", "title", "content", "answer")
TOPICS = {  # classes.txt of the original data
    "1": "Society & Culture",
    "2": "Science & Mathematics",
    "3": "Health",
    "4": "Education & Reference",
    "5": "Computers & Internet",
    "6": "Sports",
    "7": "Business & Finance",
    "8": "Entertainment & Music",
    "9": "Family & Relationships",
    "10": "Politics & Government",
}


def draw_examples(task: Task, split: str, wanted: int, seed: int) -> list[Example]:
    """From `train.csv` and `test.csv` in the folder `task.data`, or `yahoo_answers_topics` on the hub.

    The response is the topic's name or the best answer, as `task.target` says; the label is the class,
    "1" to "10". Rows without a question, or without the answer that is to be learnt, are left out.
    """
    rows = _from_files(task.data, split) if task.data else _from_hub(split, wanted, seed)
    examples = (_example(row, task.target) for row in rows)
    return draw((example for example in examples if example), wanted, generator(seed, "yahoo_answers", split))


def _example(row: list[str], target: str) -> Example | None:
    label = row[0]
    # The original files write a line break as a backslash and an n.
    title, content, answer = (text.replace("\\n", "\n").strip() for text in row[1:])
    question = "\n".join(part for part in (title, content) if part)
    if not question or (target == "answer" and not answer):
        return None
    if target == "answer":
        return Example(f"Question: {question}\nAnswer:", f" {answer}", label)
    return Example(f"Question: {question}\nTopic:", f" {TOPICS[label]}", label)


def _from_files(data: str, split: str) -> Iterator[list[str]]:
    path = split_file(data, split, ".csv")
    for place, row in csv_rows(path, COLUMNS):
        if row[0] not in TOPICS:
            raise InputError(path, f"{place}, class", row[0], "a number from 1 to 10")
        yield row


def _from_hub(split: str, wanted: int, seed: int) -> Iterator[list[str]]:
    # Twice as many as wanted, because some are left out.
    order = generator(seed, "yahoo_answers", "hub", split)
    for row in hub_rows("yahoo_answers_topics", "yahoo_answers_topics", split, 2 * wanted, order):
        yield [str(row["topic"] + 1), row["question_title"], row["question_content"], row["best_answer"]]
