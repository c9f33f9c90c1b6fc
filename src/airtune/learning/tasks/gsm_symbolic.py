"""Generated word problems: templates of GSM-Symbolic (Mirzadeh et al. 2024) as coded in reasoning-gym."""

import hashlib
import zipfile
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

from airtune.assets import REASONING_GYM, fetch_wheel
from airtune.errors import InputError
from airtune.learning.tasks.example import Example
from airtune.learning.tasks.gsm8k import problem
from airtune.randomness import derived_seed
from airtune.scenario import Task

Template = Callable[[Random], dict[str, Any]]

# reasoning-gym's own list of templates whose answers are not right.
_UNFIXED = {32, 35, 37, 61, 63, 65, 74, 76, 77, 79, 86, 87, 90, 97, 98}
_GENERATORS = ("generators_00_49.py", "generators_50_99.py")
_OWN_IMPORT = "from reasoning_gym.utils import format_number, is_integer\n"
_ATTEMPTS = 200  # a template that gives nothing new so often has been used up


def draw_examples(task: Task, split: str, wanted: int, seed: int) -> list[Example]:
    """Distinct problems, as many from each of the 85 templates as from any other; the label is the template.

    Asking for more extends the list. A template with few variations runs out before the others.
    """
    if task.data:
        raise InputError("scenario", "task.data", task.data, "nothing: gsm_symbolic generates its problems")
    chance = Random(derived_seed(seed, "gsm_symbolic", split))
    open_templates = templates()
    found: list[Example] = []
    seen: set[str] = set()
    while open_templates and len(found) < wanted:
        for number in chance.sample(sorted(open_templates), len(open_templates)):
            example = _new_problem(number, open_templates[number], split, seen, chance)
            if example is None:
                del open_templates[number]
            else:
                found.append(example)
    return found[:wanted]


def templates() -> dict[int, Template]:
    """The 85 sound templates by number."""
    return {number: template for number, template in _all_templates().items() if number not in _UNFIXED}


def _new_problem(
    number: int, template: Template, split: str, seen: set[str], chance: Random
) -> Example | None:
    for _ in range(_ATTEMPTS):
        made = template(chance)
        question = made["question"]
        if question not in seen and _split_of(question) == split:
            seen.add(question)
            # Some templates end in "#### 16.0" where the answer is "16".
            steps = made["metadata"]["answer_cot"].rpartition("####")[0]
            return problem(question, f"{steps}#### {made['answer']}", str(number))
    return None


def _split_of(question: str) -> str:
    """Training or test, decided by the text itself: no problem is ever in both, whatever the seed."""
    return "test" if hashlib.sha256(question.encode()).digest()[0] < 32 else "train"


@cache
def _all_templates() -> dict[int, Template]:
    """The wheel's generator functions.

    Importing the package would import all its puzzles and their dependencies; these three files need only
    the standard library, and each other through a single line.
    """
    with zipfile.ZipFile(fetch_wheel(REASONING_GYM)) as wheel:
        utilities: dict[str, Any] = {}
        exec(wheel.read("reasoning_gym/utils.py"), utilities)
        found: dict[str, Any] = {}
        for file in _GENERATORS:
            source = wheel.read(f"reasoning_gym/arithmetic/gsm_symbolic/{file}").decode()
            scope = dict(utilities)
            exec(source.replace(_OWN_IMPORT, ""), scope)
            found |= {name: value for name, value in scope.items() if name.startswith("generate_")}
    return {int(name.removeprefix("generate_")): value for name, value in found.items()}
