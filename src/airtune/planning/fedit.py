"""`fedit`: federated averaging as it comes, equal bandwidth within each cell and no pruning."""

from airtune.planning.fleet import Fleet
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.planning.support import fullest


def solve(problem: Problem) -> Plan:
    """ρ at its floor (`prune_min`, or what memory and energy ask for), bandwidth in equal parts."""
    fleet = Fleet.of(problem)
    bandwidth = fleet.restore(fleet.equal_bandwidth())
    return evaluate(problem, "fedit", fullest(problem, bandwidth), bandwidth)
