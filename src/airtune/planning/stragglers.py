"""Stragglers: the clients far slower than the others, unpruned."""

import numpy as np
import numpy.typing as npt

from airtune.planning.problem import Problem
from airtune.radio.rate import rate


def full_round_s(problem: Problem) -> npt.NDArray[np.float64]:
    """(K,) seconds of every client's unpruned round on equal bandwidth within its cell."""
    members = np.bincount(problem.cell, minlength=len(problem.bandwidth_hz))
    bandwidth = (problem.bandwidth_hz / np.maximum(members, 1))[problem.cell]
    none = np.zeros(len(problem.ids))
    upload = problem.bits_at(none) / rate(bandwidth, problem.snr_hz, problem.rate)
    return np.asarray(problem.busy_at(none) + upload)


def stragglers(problem: Problem) -> npt.NDArray[np.bool_]:
    """(K,) True for the stragglers.

    Clients are ordered by the time of their unpruned round on equal bandwidth within the cell; the cut is
    at the largest ratio between neighbours. At least one client stays; a single client always does, and
    nobody is left out where all take equally long.
    """
    time = full_round_s(problem)
    order = np.argsort(time, kind="stable")
    found = np.zeros(len(time), bool)
    ratio = time[order[1:]] / time[order[:-1]]
    if len(ratio) and ratio.max() > 1:
        found[order[int(np.argmax(ratio)) + 1 :]] = True
    return found
