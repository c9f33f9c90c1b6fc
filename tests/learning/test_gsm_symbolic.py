"""Generated word problems: distinct, right, reproducible, and never both trained and tested on."""

import operator
import os
import re
import subprocess
import sys

import pytest

from airtune.assets import REASONING_GYM, fetch_wheel
from airtune.errors import AirtuneError, InputError
from airtune.learning.tasks import gsm_symbolic, load_task
from airtune.scenario import Task

OPERATIONS = {"*": operator.mul, "+": operator.add, "-": operator.sub}


@pytest.fixture(autouse=True, scope="module")
def _reasoning_gym():
    try:
        fetch_wheel(REASONING_GYM)
    except AirtuneError as error:
        pytest.skip(str(error))


def test_problems_are_distinct_and_never_both_trained_and_tested_on():
    one, other = (load_task(Task(train_examples=1500, test_examples=300), seed) for seed in (0, 1))
    trained = {example.prompt for data in (one, other) for example in data.train + data.calibration}
    tested = {example.prompt for data in (one, other) for example in data.test}
    assert not trained & tested
    assert len({example.prompt for example in one.train + one.calibration + one.test}) == 1832
    assert {example.label for example in one.train} == {str(number) for number in gsm_symbolic.templates()}
    assert len(gsm_symbolic.templates()) == 85


def test_answers_end_like_those_of_gsm8k():
    for example in load_task(Task(train_examples=1000), 0).train:
        assert re.fullmatch(r"Question: \S.*\S\nAnswer:", example.prompt, re.DOTALL)
        assert re.fullmatch(r" \S.*\n#### -?\d+(\.\d*[1-9])?", example.response, re.DOTALL)
        assert "final answer" not in example.prompt


def test_sums_in_the_answers_are_right():
    # Two plain numbers and their result, with no further sign or fraction before or after.
    before, after = r"(?:^|[a-wyz:,] )", r"(?=$|[,.]?\s[a-wyz])"
    equation = re.compile(rf"{before}\$?(\d+) ([*+-]) \$?(\d+) = \$?(\d+){after}", re.MULTILINE)
    checked = 0
    for example in load_task(Task(train_examples=2000), 0).train:
        for left, sign, right, result in equation.findall(example.response):
            assert int(result) == OPERATIONS[sign](int(left), int(right)), example
            checked += 1
    assert checked > 1000


def test_the_same_in_another_process():
    code = (
        "from airtune.learning.tasks import load_task; from airtune.scenario import Task;"
        "print(load_task(Task(train_examples=200), 5))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1
    assert load_task(Task(train_examples=200), 5) != load_task(Task(train_examples=200), 6)


def test_asking_for_more_extends_the_list():
    short, long = (load_task(Task(train_examples=count), 0) for count in (100, 500))
    assert long.train[:100] == short.train
    assert (long.calibration, long.test) == (short.calibration, short.test)


def test_templates_that_run_out_end_the_list(monkeypatch):
    def only(chance):
        number = chance.randrange(40)
        return {"question": f"{number}?", "answer": "1", "metadata": {"answer_cot": "So\n#### 1.0"}}

    monkeypatch.setattr(gsm_symbolic, "templates", lambda: {7: only})
    data = load_task(Task(calibration_examples=4), 0)
    assert 20 < len(data.train) + len(data.calibration) + len(data.test) <= 40
    assert data.train[0].response == " So\n#### 1"


def test_there_is_nothing_to_read():
    with pytest.raises(InputError, match="found 'folder', expected nothing"):
        load_task(Task(data="folder"), 0)
