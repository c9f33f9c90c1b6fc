"""What counts as a right answer: GSM8K's final number, a topic's name. Free text has no right answer."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from airtune.scenario import Task

MARK = "####"  # before the final number of a worked answer


@dataclass(frozen=True)
class Metric:
    """The share `value` of `examples` test questions answered rightly; `name` is that of `metric_name`.

    `by_group` is the share of those with the labels that a client group holds, where groups have their own.
    """

    name: str
    value: float
    examples: int
    by_group: dict[str, float] = field(default_factory=dict)


def metric_name(task: Task) -> str | None:
    """`exact_match` for word problems, `accuracy` for topics, None where there is none."""
    if task.name in ("gsm8k", "gsm_symbolic"):
        return "exact_match"
    return "accuracy" if task.name == "yahoo_answers" and task.target == "topic" else None


def is_right(task: Task) -> Callable[[str, str], bool]:
    """Whether a generated text answers as the true one does, for tasks with a metric."""
    return _same_number if metric_name(task) == "exact_match" else _same_text


def _same_number(generated: str, true: str) -> bool:
    found, wanted = _final(generated), _final(true)
    return bool(wanted) and found == wanted


def _final(text: str) -> Decimal | str:
    """What follows the mark on its line, as a number if it is one; $, commas and a full stop do not count."""
    answer = text.partition(MARK)[2].strip().partition("\n")[0]
    answer = re.sub(r"[,$\s]", "", answer).removesuffix(".")
    try:
        return Decimal(answer)
    except InvalidOperation:
        return answer


def _same_text(generated: str, true: str) -> bool:
    return generated.strip() == true.strip()
