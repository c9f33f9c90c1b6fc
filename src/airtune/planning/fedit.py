"""`fedit`: federated averaging as it comes, equal bandwidth within each cell and no pruning."""

from airtune.planning.fleet import Fleet
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem


def solve(problem: Problem) -> Plan:
    """ρ at its floor (`prune_min`, or what memory asks for), bandwidth in equal parts."""
    fleet = Fleet.of(problem)
    return evaluate(problem, "fedit", problem.prune_floor(), fleet.restore(fleet.equal_bandwidth()))
