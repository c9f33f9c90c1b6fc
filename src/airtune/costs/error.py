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
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from airtune.costs.curves import GradientError, convex_envelope
from airtune.planning import ErrorTable, Problem
from airtune.planning.stragglers import full_round_s

_HEAVY = 1e4
# A round's steps all lean to the same side, and away from it others unlearn what they knew.
BIAS = 6.0
NOISE = 0.6  # fitted to rounds with parts of a fleet (docs/selection.md)

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
        return {each.name: np.asarray(getattr(self, each.name)).tolist() for each in fields(self)}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Gradients":
        """The other way."""
        unlike, noise, apart = (np.array(fields[name], float) for name in ("unlike", "noise", "apart"))
        return cls(unlike, noise, apart)

    @cached_property
    def distances(self) -> Array:
        """(K, K) `apart`; of two that were never compared, what the client says to whom both are closest.

        Clients are taken to come in groups: through another one r, j and k are max(apart_jr, apart_rk) apart.
        0 where there is no such client.
        """
        seen = np.where(self.apart > 0, self.apart, np.inf)
        np.fill_diagonal(seen, 0.0)
        through = np.full_like(seen, np.inf)
        for row in seen:
            np.minimum(through, np.maximum(row[:, None], row), out=through)
        return np.where(np.isfinite(seen), seen, np.where(np.isfinite(through), through, 0.0))

    def shares(self, weight: Array, participates: Mask) -> Array:
        """(K,) aggregation weights a of the participants with which the round's error (`off`) is least.

        Who takes part stands in for those who are like it and do not. With R the root of the quadratic form,
        the least of ‖R a − R⁻ᵀ·linear‖² over a ≥ 0; a row of weight `_HEAVY` holds Σ a at 1.
        """
        own = np.flatnonzero(participates)
        bias, noise = BIAS * self._bias(weight), NOISE * self._noise
        root = np.linalg.cholesky(bias[np.ix_(own, own)] + np.diag(noise[own])).T
        heavy = _HEAVY * np.abs(root).max()
        toward = np.linalg.solve(root.T, bias[own] @ weight)
        found, _ = nnls(np.vstack([root, np.full(len(own), heavy)]), np.append(toward, heavy))
        share = np.zeros(len(weight))
        share[own] = found / found.sum()
        return share

    def off(self, weight: Array, share: Array) -> float:
        """The error of a round whose updates count by `share` (K,) instead of `weight`, beside their own.

        Both sum to 1. With b = a − w the mean gradient is off by Σ b g. As b sums to 0, ‖Σ b g‖² is
        −½ Σ_jk b_j b_k ‖g_j − g_k‖²; it counts `BIAS` times. The mean over fewer has more noise, which costs
        by its square, ν/(1 + ν) of a step of Adam with length one, where the signal brings 1/√(1 + ν): so
        `NOISE`·Σ (a² − w²)·ν/√(1 + ν).
        """
        change = share - weight
        noise = float((share**2 - weight**2) @ self._noise)
        return BIAS * max(float(change @ self._bias(weight) @ change), 0.0) + NOISE * max(noise, 0.0)

    @property
    def _noise(self) -> Array:
        """(K,) what a step's noise costs beside what its signal brings."""
        return np.asarray(self.noise / np.sqrt(1 + self.noise))

    def _bias(self, weight: Array) -> Array:
        """(K, K) ⟨g_j − G, g_k − G⟩ over ‖G‖², without what noise has put below 0."""
        to_mean = self.distances @ weight
        centred = -0.5 * (self.distances - to_mean[:, None] - to_mean + weight @ to_mean)
        size, axes = np.linalg.eigh(centred)
        return np.asarray((axes * np.maximum(size, 0.0)) @ axes.T)


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
