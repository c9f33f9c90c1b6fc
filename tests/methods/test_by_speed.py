"""Who gets which sub-model."""

from dataclasses import replace

from airtune.methods.by_speed import by_speed
from airtune.pruning.path import Reduction


def test_the_slow_get_what_they_finish_in_the_faster_half_s_time(full, priced):
    """Client c is the slower one of the faster half; a is four times and b twice as slow."""
    choices = [replace(Reduction.none(full), rank=rank) for rank in (8, 4, 2, 1)]
    assert [one.rank for one in by_speed(choices, priced(full))] == [2, 4, 8, 8]


def test_who_is_always_late_gets_the_least(full, priced):
    choices = [replace(Reduction.none(full), rank=rank) for rank in (8, 4)]
    assert [one.rank for one in by_speed(choices, priced(full))] == [4, 4, 8, 8]


def test_memory_binds_too(full, priced):
    """d cannot hold the whole model, so b and c are the faster half."""
    choices = [replace(Reduction.none(full), rank=rank) for rank in (8, 4, 2, 1)]
    whole = priced(full)(choices[0]).memory.fixed_bytes[0]
    found = by_speed(choices, priced(full, memory=(whole, whole, whole, whole / 3)))
    assert [one.rank for one in found] == [4, 8, 8, 2]
