"""What is learnt: each task turns its data into examples, cut into training, calibration and test data."""

from dataclasses import dataclass

from airtune.errors import InputError, words
from airtune.learning.tasks import gsm8k, gsm_symbolic, jsonl, yahoo_answers
from airtune.learning.tasks.example import Example
from airtune.scenario import Task

__all__ = ["Example", "TaskData", "load_task", "own_examples"]

_DRAW = {
    "gsm_symbolic": gsm_symbolic.draw_examples,
    "gsm8k": gsm8k.draw_examples,
    "yahoo_answers": yahoo_answers.draw_examples,
    "jsonl": jsonl.draw_examples,
}


@dataclass(frozen=True)
class TaskData:
    """Three lists without a common example, each in random order. Calibration data belongs to no client."""

    train: list[Example]
    test: list[Example]
    calibration: list[Example]


def load_task(task: Task, seed: int) -> TaskData:
    """The task's examples, the same for the same seed.

    `train_examples` and `test_examples` are upper limits: of smaller data, all is used. Calibration examples
    come first, out of the training data.

    Raises:
        InputError: the data is missing or wrong, or nothing is left to train or test on.
        AirtuneError: the generator of `gsm_symbolic` cannot be fetched.
    """
    draw_examples, calibrating = _DRAW[task.name], task.calibration_examples
    drawn = draw_examples(task, "train", calibrating + task.train_examples, seed)
    test = draw_examples(task, "test", task.test_examples, seed)
    place = task.data or "scenario"
    if len(drawn) <= calibrating:
        found = words(f"{len(drawn)} training examples")
        raise InputError(place, "", found, f"more than the {calibrating} of task.calibration_examples")
    if not test:
        raise InputError(place, "", words("no test examples"), "at least one")
    return TaskData(drawn[calibrating:], test, drawn[:calibrating])


def own_examples(task: Task, place: str, seed: int) -> list[Example]:
    """The training examples of a client with data of its own, at most `train_examples`, in random order.

    Args:
        place: its file or folder, of the same form as the task's.

    Raises:
        InputError: the data is missing or wrong, or the task has none as its examples are generated.
    """
    if task.name == "gsm_symbolic":
        raise InputError("scenario", "task.name", task.name, f"a task with data, as there is {place}")
    drawn = _DRAW[task.name](task.model_copy(update={"data": place}), "train", task.train_examples, seed)
    if not drawn:
        raise InputError(place, "", words("no training examples"), "at least one")
    return drawn
