"""`drop-slowest`: the stragglers are left out for good, the others train in full with the best bandwidth."""

from airtune.methods.method import Mask, Method, planned_by
from airtune.planning import Problem
from airtune.planning.stragglers import stragglers


def all_but_stragglers(problem: Problem) -> Mask:
    """The slowest clients are left out for good."""
    return ~stragglers(problem)


METHOD = Method(
    "drop-slowest", planned_by("bandwidth-only"), select=all_but_stragglers, baseline=True, shares_band=True
)
