"""Memory that is left, and memory that a process holds."""

import os

import numpy as np

from airtune.comparing.memory import memory_left, memory_of


def test_memory_that_is_taken_is_seen():
    before = memory_of(os.getpid())
    taken = np.ones(200 * 2**20, np.uint8)
    assert memory_of(os.getpid()) - before > 0.9 * taken.nbytes
    assert memory_left() > 0


def test_a_process_that_has_ended_holds_nothing():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert memory_of(child) == 0
