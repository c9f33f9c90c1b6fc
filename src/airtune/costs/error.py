"""The error of reduced and absent clients, in the fleet they belong to.

Where client k does not train a part of the model, that part moves as the others' gradients say. What is lost
is not k's gradient but its difference from theirs. Let S be the clients without the part, W_S their weight,
g_k their gradients and G the mean over all. The update is then off by W_S/(1 − W_S)·(G − g_S), and by
convexity its square is at most W_S/(1 − W_S)²·Σ_S w_k ‖g_k − G‖². A part that k does train, but in a model of
another function, is off by k's share among its holders, so its square by at most Σ w_k ‖ε_k‖²/(1 − W_S). Let
anchors, clients that train everything, have the weight A together: 1 − W_S ≥ A, and a sum over clients is an
upper bound of the fleet's relative error:

    E ≤ Σ w_k e_k(ρ_k),   e_k(ρ) = (1 − A)/A² · h_k · missed(ρ) + wrong(ρ)/A + slower_k(ρ),

with h_k = ‖g_k − G‖²/‖G‖² the heterogeneity, `missed` and `wrong` the shares of the squared gradient that a
sub-model leaves out and gets wrong, the part left out taken to be as unlike the others' as the rest. The last
term is what k's own steps lose by fewer examples. Adam divides every gradient by the root of its mean square,
noise included, so a step with the noise ν over ‖G‖² goes 1/√(1 + ν) of a step without in the gradient's
direction: slower(ρ) = 1 − √((1 + ν)/(1 + ν/s)) with a share s(ρ) of the examples, at most 1 − √s. Leaving k
out is missed = 1. Without anchors the bound says nothing: if nobody trains a part, all of it is lost however
alike the clients are. A path that leaves nothing out and gets nothing wrong needs none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from airtune.costs.curves import GradientError, convex_envelope
from airtune.planning import ErrorTable, Problem
from airtune.planning.stragglers import full_round_s

# A round's steps all lean to the same side, and away from it others unlearn what they knew.
BIAS = 6.0

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Gradients:
    """What is known of the clients' gradients.

    Attributes:
        unlike: (K,) h_k.
        noise: (K,) the variance of a round's mean gradient over ‖G‖²; a single one of S steps has S times as
            much, ν_k.
        apart: (K, K) ‖g_j − g_k‖²/‖G‖²; 0 where two clients have never been compared.
    """

    unlike: Array
    noise: Array
    apart: Array = field(default_factory=lambda: np.empty((0, 0)))

    def __post_init__(self) -> None:
        if len(self.apart) != len(self.unlike):
            object.__setattr__(self, "apart", np.zeros((len(self.unlike),) * 2))

    def to_fields(self) -> dict[str, Any]:
        """As plain numbers and lists, as events keep them."""
        return {name: np.asarray(value).tolist() for name, value in vars(self).items()}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Gradients":
        """The other way."""
        unlike, noise, apart = (np.array(fields[name], float) for name in ("unlike", "noise", "apart"))
        return cls(unlike, noise, apart)

    def off(self, weight: Array, participates: Mask) -> float:
        """The error of a round in which the participants (K,) alone train, beside their own errors.

        Let a be their weights, which sum to 1, and b = a − w the change of weights. Then the mean gradient is
        off by Σ b g, and as b sums to 0, ‖Σ b g‖² = −½ Σ_jk b_j b_k ‖g_j − g_k‖². It counts `BIAS` times. The
        mean over fewer has more noise: of a step of Adam, which has length one, the noise has the share
        ν/(1 + ν), so that it grows by Σ (a² − w²)·ν/(1 + ν).
        """
        alone = np.where(participates, weight, 0.0)
        alone = alone / alone.sum()
        change = alone - weight
        bias = max(float(-0.5 * change @ self.apart @ change), 0.0)
        noise = float(np.sum((alone**2 - weight**2) * self.noise / (1 + self.noise)))
        return BIAS * bias + max(noise, 0.0)


def anchors(problem: Problem, participates: Mask, least_weight: float) -> Mask:
    """(K,) the clients that train everything: the fastest ones, until they have `least_weight` together.

    Only participants whose memory holds the whole model can be anchors; there may be too few of them.
    """
    able = participates & (problem.prune_min <= 0)
    if problem.memory is not None:
        limit = problem.memory
        able &= limit.budget_bytes >= limit.fixed_bytes + limit.prunable_bytes
    order = np.argsort(np.where(able, full_round_s(problem), np.inf), kind="stable")
    before = np.cumsum(problem.weight[order]) - problem.weight[order]
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order] = before < least_weight * (1 - 1e-9)
    return chosen & able


def in_fleet(
    problem: Problem,
    participates: Mask,
    error: GradientError,
    known: Gradients,
    least_weight: float,
    steps: int,
) -> Problem:
    """`problem` with anchors that are not pruned, and every client's error as the fleet feels it.

    However few the anchors, the others' errors add up to no more than all that the others hold.

    Args:
        participates: (K,) who takes part.
        error: of sub-models along the reduction path.
        known: of the clients' gradients.
        least_weight: A, the weight that anchors have at least.
        steps: of a round.
    """
    held = anchors(problem, participates, least_weight)
    weight = min(float(problem.weight[held].sum()), 1.0)
    most = 1 / (1 - weight) if weight < 1 else 1.0
    # Without anchors nobody can stand in for anybody: each misses its own gradient.
    absent = min((1 - weight) / weight**2, most) * known.unlike if weight > 0 else np.ones(len(held))
    wrong = error.wrong * (min(1 / weight, most) if weight > 0 else 1.0)
    noise = steps * known.noise
    tables = {
        (missing, noisy): ErrorTable(
            *convex_envelope(error.prune, missing * error.missed + wrong + _slower(noisy, error.noisier))
        )
        for missing, noisy in set(zip(absent, noise, strict=True))
    }
    unbiased = not error.missed.any() and not error.wrong.any()
    return replace(
        problem,
        prune_max=problem.prune_max if unbiased else np.where(held, 0.0, problem.prune_max),
        errors=tuple(tables[key] for key in zip(absent, noise, strict=True)),
        # A client left out is missed = 1, but a fleet without most of its clients is slow, not impossible.
        drop_error=np.minimum(absent, 1.0),
    )


def _slower(noise: float, noisier: Array) -> Array:
    """(points,) the part of a step that more noise costs: `noise` times 1 + `noisier` instead of `noise`."""
    return np.asarray(1 - np.sqrt((1 + noise) / (1 + noise * (1 + noisier))))
