"""Malformed replies and files end in what was read or a one-line error; benchmarks have more of them."""

from random import Random

import pytest
from hostile import CASES, outcome


@pytest.mark.parametrize(("kind", "count"), [("reply", 60), ("report", 100), ("file", 40)])
def test_what_is_malformed_is_read_or_refused_in_a_line(kind, count):
    _judge(kind, count)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "count"), [("reply", 2000), ("report", 2000), ("file", 4000), ("folder", 60)]
)
def test_much_that_is_malformed_is_read_or_refused_in_a_line(kind, count):
    _judge(kind, count)


def _judge(kind: str, count: int) -> None:
    found = [outcome(CASES[kind], Random(f"{kind} {number}")) for number in range(count)]
    offences = {number: one.offence for number, one in enumerate(found) if one.offence}
    assert not offences
    kinds = {one.kind for one in found}
    assert kinds & {"read", "shown", "gone on"}, "nothing was so little spoilt that it could be read"
    assert len(kinds) > 5
