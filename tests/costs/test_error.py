"""The error of reduced clients in a fleet: an upper bound of what really happens to the mean gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from airtune.costs.curves import GradientError
from airtune.costs.error import BIAS, NOISE, Gradients, anchors, in_fleet
from airtune.planning import ErrorTable, Memory, Problem, Rounds

LAYERS, WIDTH = 6, 5
# A path that gives up one layer after the other: at rate (i + 1)/LAYERS, i + 1 layers are not trained.
RATES = np.arange(1, LAYERS + 1) / LAYERS
UNLIKE = Gradients(np.ones(2), np.ones(2))
ALIKE = Gradients(np.zeros(2), np.ones(2))


def everyone(count: int) -> np.ndarray:
    return np.ones(count, dtype=bool)


def problem(weight: np.ndarray, speed: np.ndarray, **changes: object) -> Problem:
    count = len(weight)
    same = dict.fromkeys(("snr_hz", "fixed_bits", "payload_bits", "prune_max"), np.ones(count))
    fields = {
        "ids": tuple(f"c{k}" for k in range(count)),
        "cell_ids": ("cell",),
        "cell": np.zeros(count, int),
        "bandwidth_hz": np.ones(1),
        "weight": weight,
        "fixed_s": np.zeros(count),
        "prune_min": np.zeros(count),
        "compute_s": 1 / speed,
        "rounds": Rounds(10.0, 0.5, ErrorTable(np.array([0.0, 1.0]), np.array([0.0, 1.0]))),
        **same,
    }
    return Problem(**fields | changes)  # type: ignore[arg-type]


@given(st.integers(2, 7), st.integers(0, 10**6), st.floats(0.05, 1.0))
def test_the_sum_bounds_what_the_fleet_loses(count, seed, least):
    """Random gradients, each equally unlike the mean in all layers; random anchors and reductions."""
    draw = np.random.default_rng(seed)
    weight = draw.dirichlet(np.ones(count))
    mean = draw.normal(size=(LAYERS, WIDTH))
    apart = draw.normal(size=(count, LAYERS, WIDTH))
    # The model takes what a layer misses to be as unlike as the rest, so that is how these are drawn.
    apart *= (np.linalg.norm(mean, axis=1) / np.linalg.norm(apart, axis=2))[..., None]
    apart *= draw.uniform(0, 1, (count, 1, 1))
    gradients = mean + apart
    mean = np.einsum("k,klw->lw", weight, gradients)
    unlike = np.sum((gradients - mean) ** 2, axis=2) / np.sum(mean**2, axis=1)
    energy = np.sum(mean**2, axis=1) / np.sum(mean**2)
    # Of a client's layers, the one that is most unlike: then the bound holds for every layer.
    heterogeneity = unlike.max(axis=1)
    case = problem(weight, draw.uniform(1, 9, count))
    missed = np.cumsum(energy)
    error = GradientError(RATES, missed, np.zeros(LAYERS), np.zeros(LAYERS))
    fleet = in_fleet(case, everyone(count), error, Gradients(heterogeneity, np.ones(count)), least, 4)
    given_up = np.where(fleet.prune_max > 0, draw.integers(0, LAYERS + 1, count), 0)
    trains = np.arange(LAYERS) >= given_up[:, None]
    share = weight[:, None] * trains / (weight[:, None] * trains).sum(axis=0)
    update = np.einsum("kl,klw->lw", share, gradients)
    really = np.sum((update - mean) ** 2) / np.sum(mean**2)
    rates = np.concatenate([[0.0], RATES])[given_up]
    # Points of the table that lie on its convex envelope are exact, others may be below.
    held = weight[fleet.prune_max == 0].sum()
    most = 1 / (1 - held) if held < 1 else 1.0
    factor = min((1 - held) / held**2, most)
    exact = factor * heterogeneity * np.concatenate([[0.0], missed])[given_up]
    # Few anchors would make the bound more than everything; then it is everything.
    if factor < most:
        assert really <= weight @ exact * (1 + 1e-9) + 1e-12
    assert weight @ exact <= heterogeneity.max() + 1e-9
    assert (fleet.error_at(rates) <= exact + 1e-9).all()


def test_the_fastest_are_anchors():
    case = problem(np.full(4, 0.25), np.array([1.0, 4.0, 2.0, 3.0]))
    assert anchors(case, everyone(4), 0.5).tolist() == [False, True, False, True]
    assert anchors(case, everyone(4), 0.51).tolist() == [False, True, True, True]
    assert anchors(case, everyone(4), 1.0).all()
    assert anchors(case, everyone(4), 1e-3).sum() == 1


def test_who_does_not_hold_the_model_is_no_anchor():
    memory = Memory(np.array([9.0, 5.0]), np.full(2, 3.0), np.full(2, 4.0))
    case = problem(np.full(2, 0.5), np.array([1.0, 4.0]), memory=memory)
    assert anchors(case, everyone(2), 0.5).tolist() == [True, False]
    absent = np.array([False, True])
    assert not anchors(case, absent, 0.5).any()
    error = GradientError(np.ones(1), np.array([0.8]), np.array([0.1]), np.array([2.0]))
    alone = in_fleet(case, absent, error, ALIKE, 0.5, 4)
    # Nobody can stand in for anybody: each misses its own gradient, however alike they are.
    assert alone.error_at(np.ones(2)) == pytest.approx(0.8 + 0.1 + 1 - np.sqrt(5 / 13))
    assert (alone.prune_max == case.prune_max).all()


@pytest.mark.parametrize("count", [20, 21, 45, 58])
def test_anchors_alone_have_no_negative_error(count):
    """Equal weights sum to a little more than 1."""
    case = problem(np.full(count, 1 / count), np.ones(count))
    error = GradientError(np.array([0.5, 1.0]), np.array([0.3, 1.0]), np.zeros(2), np.zeros(2))
    fleet = in_fleet(case, everyone(count), error, Gradients(np.ones(count), np.ones(count)), 1.0, 4)
    assert (fleet.drop_error == 0).all()
    assert Problem.from_json(fleet.to_json()).to_json() == fleet.to_json()


def test_data_drawn_alike_costs_nothing_but_what_is_wrong_does():
    case = problem(np.full(2, 0.5), np.array([1.0, 4.0]))
    error = GradientError(np.array([0.5, 1.0]), np.array([0.4, 0.9]), np.array([0.1, 0.3]), np.zeros(2))
    alike = in_fleet(case, everyone(2), error, ALIKE, 0.5, 4)
    assert alike.error_at(np.array([1.0, 0.0])) == pytest.approx([0.3 / 0.5, 0])
    unlike = in_fleet(case, everyone(2), error, UNLIKE, 0.5, 4)
    assert unlike.error_at(np.array([1.0, 0.0])) == pytest.approx([2 * 0.9 + 0.3 / 0.5, 0])
    assert unlike.drop_error.tolist() == [1.0, 1.0]
    assert alike.drop_error.tolist() == [0.0, 0.0]
    assert unlike.prune_max.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("noise", [0.1, 1.0, 30.0])
def test_fewer_examples_shorten_adam_s_steps(noise):
    """Adam's own steps on noisy gradients, along the one without noise, as a share of the full batch's."""
    share = np.array([0.8, 0.5, 0.2])
    error = GradientError(1 - share, np.zeros(3), np.zeros(3), 1 / share - 1)
    case = problem(np.full(2, 0.5), np.ones(2), prune_max=np.full(2, 0.8))
    fleet = in_fleet(case, everyone(2), error, Gradients(np.ones(2), np.full(2, noise / 4)), 0.5, 4)
    assert (fleet.prune_max == 0.8).all()  # everybody trains everything, so nobody has to be an anchor
    moved = [adam_moves(noise / each) for each in (1.0, *share)]
    for kept, reached in zip(share, moved[1:], strict=True):
        assert fleet.error_at(np.full(2, 1 - kept)) == pytest.approx(1 - reached / moved[0], abs=0.03)


def adam_moves(noise: float) -> float:
    """How far torch's Adam goes along a gradient of ones in all coordinates with so much noise in each."""
    draw = torch.Generator().manual_seed(0)
    place = torch.nn.Parameter(torch.zeros(4000))
    optimiser = torch.optim.AdamW([place], lr=1e-3, weight_decay=0.0, betas=(0.9, 0.999))
    for _ in range(60):
        place.grad = 1 + noise**0.5 * torch.randn(4000, generator=draw)
        optimiser.step()
    return -float(place.detach().mean())


@given(st.integers(2, 8), st.integers(0, 10**6))
def test_a_part_of_the_fleet_is_off_by_what_its_mean_gradient_is(count, seed):
    draw = np.random.default_rng(seed)
    weight = draw.dirichlet(np.ones(count))
    gradients = draw.normal(size=(count, 40)) + draw.normal(size=40)
    apart = np.sum((gradients[:, None] - gradients) ** 2, axis=2)
    mean = weight @ gradients
    chosen = np.ones(count, bool)
    chosen[draw.choice(count, draw.integers(0, count), replace=False)] = False
    alone = np.where(chosen, weight, 0) / weight[chosen].sum()
    square = float(mean @ mean)
    known = Gradients(np.ones(count), np.zeros(count), apart / square)
    expected = np.sum((alone @ gradients - mean) ** 2) / square
    assert known.off(weight, alone) == pytest.approx(BIAS * expected, rel=1e-6, abs=1e-9)


def test_fewer_clients_have_more_noise_and_all_of_them_none_more():
    known = Gradients(np.zeros(4), np.full(4, 3.0))
    weight = np.full(4, 0.25)
    assert known.off(weight, weight) == 0
    assert known.off(weight, np.array([0.5, 0.5, 0, 0])) == pytest.approx((0.5 - 0.25) * 1.5 * NOISE)
    assert known.off(weight, np.array([1.0, 0, 0, 0])) == pytest.approx((1 - 0.25) * 1.5 * NOISE)


@given(st.integers(2, 8), st.integers(0, 10**6))
def test_no_other_weights_of_those_who_take_part_are_better(count, seed):
    draw = np.random.default_rng(seed)
    weight = draw.dirichlet(np.ones(count))
    place = draw.normal(size=(count, 3))
    apart = np.sum((place[:, None] - place) ** 2, axis=2)
    known = Gradients(np.ones(count), draw.uniform(0.1, 20, count), apart)
    chosen = np.ones(count, bool)
    chosen[draw.choice(count, draw.integers(0, count), replace=False)] = False
    share = known.shares(weight, chosen)
    assert share.sum() == pytest.approx(1)
    assert (share >= 0).all()
    assert (share[~chosen] == 0).all()

    def cost(share: np.ndarray) -> float:
        noise = known.noise / np.sqrt(1 + known.noise)
        change = share - weight
        return BIAS * (-0.5 * change @ apart @ change) + NOISE * share**2 @ noise

    best = minimize(
        lambda free: cost(np.where(chosen, free, 0)),
        np.where(chosen, 1 / chosen.sum(), 0),
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda free: free[chosen].sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-12},
    )
    assert cost(share) <= best.fun + 1e-6 * (1 + abs(best.fun))


def test_who_takes_part_stands_in_for_those_like_it():
    """Clients 0 to 2 are alike, and so are 3 to 7; of the first only one takes part."""
    group = np.arange(8) < 3
    apart = np.where(group[:, None] != group, 3.0, 1e-9) * ~np.eye(8, dtype=bool)
    known = Gradients(np.ones(8), np.full(8, 0.5), apart)
    weight = np.full(8, 1 / 8)
    share = known.shares(weight, np.array([True, False, False, True, True, True, False, False]))
    assert share[0] == pytest.approx(3 / 8, abs=0.02)
    assert share[3:6] == pytest.approx([(1 - share[0]) / 3] * 3)


def test_clients_that_were_never_compared_are_as_far_apart_as_another_says():
    apart = np.zeros((4, 4))
    for pair, distance in {(0, 1): 0.1, (0, 2): 2.0, (0, 3): 0.2}.items():
        apart[pair] = apart[pair[::-1]] = distance
    found = Gradients(np.ones(4), np.ones(4), apart).distances
    assert found[1, 2] == found[2, 1] == found[2, 3] == 2.0
    assert found[1, 3] == 0.2
    assert (np.diag(found) == 0).all()
    lonely = Gradients(np.ones(3), np.ones(3))
    assert (lonely.distances == 0).all()
