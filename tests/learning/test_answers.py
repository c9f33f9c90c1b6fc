"""What counts as a right answer."""

import pytest

from airtune.learning.tasks.answers import is_right, metric_name
from airtune.scenario import Task

PROBLEMS, TOPICS = Task(name="gsm8k"), Task(name="yahoo_answers")


@pytest.mark.parametrize(
    ("generated", "true", "right"),
    [
        (" 3 + 4 = 7\n#### 7", "3 + 4 = <<3+4=7>>7\n#### 7", True),
        ("#### 1,200", "so\n#### 1200", True),
        ("#### $12.50.", "#### 12.5", True),
        ("#### 7\n\nQuestion: 8", "#### 7", True),
        ("#### 70", "#### 7", False),
        ("The answer is 7", "#### 7", False),
        ("", "#### 7", False),
        ("#### ", "#### 7", False),
        ("#### 7 apples", "#### 7", False),
        ("#### -3", "#### -3.0", True),
    ],
)
def test_the_number_after_the_mark_counts(generated, true, right):
    assert is_right(PROBLEMS)(generated, true) is right


@pytest.mark.parametrize(
    ("generated", "right"),
    [(" Health", True), (" Health\n", True), (" health", False), (" Health care", False)],
)
def test_a_topic_is_right_or_wrong_as_a_whole(generated, right):
    assert is_right(TOPICS)(generated, " Health") is right


def test_which_tasks_have_a_metric():
    assert metric_name(PROBLEMS) == metric_name(Task(name="gsm_symbolic")) == "exact_match"
    assert metric_name(TOPICS) == "accuracy"
    assert metric_name(Task(name="yahoo_answers", target="answer")) is None
    assert metric_name(Task(name="jsonl", data="x")) is None
