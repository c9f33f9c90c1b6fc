"""What a method is: who takes part, how a round is planned, how clients train and how updates are merged."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from airtune import planning
from airtune.costs.error import Gradients
from airtune.costs.shapes import ModelShape
from airtune.planning import Pace, Plan, Problem
from airtune.pruning.adapters import Adapter, average_over_holders
from airtune.pruning.path import Reduction
from airtune.scenario import Scenario

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Updates = Iterable[tuple[float, Reduction, Mapping[str, npt.NDArray[np.float32]]]]


class Numbers(Protocol):
    """The numbers of a round in which the clients of a mask (K,) take part: they share the downlink.

    `weight` (K,) are those with which their updates are merged; by default each has its own.
    """

    def __call__(self, participates: Mask, weight: Floats | None = None) -> Problem: ...


@dataclass(frozen=True)
class Situation:
    """What a method sees of a round before it is played.

    Attributes:
        problem: the round's numbers, by who takes part.
        allowed: (K,) False for those left out for good.
        number: of the round, from 1.
        seed: the run's.
        pace: of the rounds before, as they were planned.
        known: of the clients' gradients; None where nobody measures any.
        count: how many clients a method that draws them is to draw; None for its own choice.
        gap: relative gap at which certified planners stop.
        bandwidth: "optimal" for the shares that end the method's round soonest, instead of its own.
    """

    problem: Numbers
    allowed: Mask
    number: int = 1
    seed: int = 0
    pace: Pace = field(default_factory=Pace)
    known: Gradients | None = None
    count: int | None = None
    gap: float = 1e-6
    bandwidth: Literal["own", "optimal"] = "own"

    @classmethod
    def of(cls, problem: Problem, allowed: Mask | None = None, gap: float = 1e-6) -> "Situation":
        """A single round of given numbers, whoever takes part."""
        everybody = np.ones(len(problem.ids), dtype=bool)

        def numbers(participates: Mask, weight: Floats | None = None) -> Problem:
            return problem if weight is None else replace(problem, weight=weight)

        return cls(numbers, everybody if allowed is None else allowed, gap=gap)


Rule = Callable[[Situation], Plan]
# The numbers of a round on the mean channels in which everybody trains this sub-model.
Priced = Callable[[Reduction], Problem]
Submodels = Callable[[ModelShape, Priced, int], Sequence[Reduction]]


def everyone(problem: Problem) -> Mask:
    """All clients take part."""
    return np.ones(len(problem.weight), dtype=bool)


def any_scenario(scenario: Scenario) -> None:
    """Every scenario will do."""


def planned_by(solver: str) -> Rule:
    """The rule that plans a round of everybody allowed with a solver of `airtune.planning`."""

    def rule(situation: Situation) -> Plan:
        allowed = situation.allowed
        return planning.plan(situation.problem(allowed), solver, situation.gap, allowed, situation.pace)

    return rule


@dataclass(frozen=True)
class Buffer:
    """Merging without waiting for all: as soon as a `share` of the clients' updates is there.

    `weight` is that of an update's change, by how many merges it has missed.
    """

    share: float
    weight: Callable[[int], float]


@dataclass(frozen=True)
class Method:
    """One way to fine-tune.

    Attributes:
        rule: plans a round.
        select: sees the mean channels once, before the first round: who takes part at all.
        aggregate: merges updates into the adapter.
        proximal: weight μ of ½·μ·‖θ − θ_t‖² in every client's loss (FedProx); 0 for none.
        submodels: of the full model's shape, prices and a round's number: what each client trains then. None
            where the plan's pruning rates along the scenario's reduction path tell that.
        buffer: how updates are merged without waiting for all; None where every round waits.
        stacks: clients merge what they are sent into their model and begin anew (`pruning.stacking`).
        check: raises InputError for a scenario that the method is not made for.
        baseline: plans no pruning, so the scenario's reduction does not matter to it.
        shares_band: plans bandwidth itself, so the scenario's `bandwidth` does not matter to it.
    """

    name: str
    rule: Rule
    select: Callable[[Problem], Mask] = everyone
    aggregate: Callable[[Adapter, ModelShape, Updates], Adapter] = average_over_holders
    proximal: float = 0.0
    submodels: Submodels | None = None
    buffer: Buffer | None = None
    stacks: bool = False
    check: Callable[[Scenario], None] = any_scenario
    baseline: bool = False
    shares_band: bool = False

    def plan(self, situation: Situation) -> Plan:
        """The plan for one round.

        Raises:
            InfeasibleError: no plan exists; names the client that binds.
        """
        chosen = self.rule(situation)
        if situation.bandwidth == "optimal" and not self.shares_band:
            chosen = planning.soonest(situation.problem(chosen.participates), chosen)
        return replace(chosen, method=self.name)
