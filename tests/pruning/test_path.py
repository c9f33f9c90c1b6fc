import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtune.costs.count import Workload, step_flops
from airtune.costs.shapes import ModelShape
from airtune.pruning.path import Importance, Reduction, ReductionPath, build_path

KINDS = ("examples", "depth", "mixed", "width")
WORK = Workload(rows=4, length=50.0, labels=10.0)


def a_shape(layers: int, groups: int, neurons: int) -> ModelShape:
    return ModelShape(
        hidden=32,
        vocabulary=100,
        embeddings=1,
        head_dim=8,
        heads_per_group=2,
        rank=2,
        projections=("q_proj", "v_proj", "down_proj"),
        kv_groups=np.full(layers, groups),
        neurons=np.full(layers, neurons),
    )


@st.composite
def paths(draw: st.DrawFn) -> ReductionPath:
    full = a_shape(draw(st.integers(2, 6)), draw(st.integers(1, 4)), draw(st.integers(2, 100)))
    scores = np.random.default_rng(draw(st.integers(0, 2**32)))
    importance = Importance(
        scores.exponential(size=(full.layers, int(full.neurons[0]))),
        scores.exponential(size=(full.layers, int(full.kv_groups[0]))),
    )
    return build_path(full, importance, draw(st.sampled_from(KINDS)), WORK)


@given(paths(), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_rate_keeps_a_subset(path: ReductionPath, one: float, other: float) -> None:
    larger, smaller = path.reduction(min(one, other)), path.reduction(max(one, other))
    assert not (smaller.neurons & ~larger.neurons).any()
    assert not (smaller.groups & ~larger.groups).any()
    assert smaller.first_trained >= larger.first_trained
    assert smaller.examples <= larger.examples


def cost_at(path: ReductionPath, prune: float) -> float:
    reduction = path.reduction(prune)
    found = reduction.step_flops(path.full, WORK)
    assert found == step_flops(reduction.shape(path.full), WORK.fewer(reduction.examples))
    return found


@given(paths(), st.floats(0, 1))
def test_compute_falls_in_proportion_and_never_less_than_asked(path: ReductionPath, prune: float) -> None:
    full, least, cost = (cost_at(path, rate) for rate in (0.0, 1.0, prune))
    assert cost == pytest.approx(full - path.snapped(prune) * (full - least), rel=1e-9)
    assert cost <= (full - prune * (full - least)) * (1 + 2e-6)


@given(paths())
def test_it_goes_from_nothing_to_a_model_that_still_works(path: ReductionPath) -> None:
    whole, least = path.reduction(0.0), path.reduction(1.0)
    assert whole.neurons.all()
    assert whole.groups.all()
    assert whole.first_trained == 0
    assert least.neurons.any(axis=1).all()
    assert least.groups.any(axis=1).all()
    assert least.first_trained < path.full.layers
    assert whole.examples == 1
    assert least.examples * WORK.rows >= 1


@given(paths())
def test_rates_rise_strictly_from_0_to_1(path: ReductionPath) -> None:
    assert path.prune[0] == 0
    assert path.prune[-1] == pytest.approx(1)
    assert (np.diff(path.prune) > 0).all()


def test_width_removes_the_least_important_neurons_first() -> None:
    full = a_shape(2, 1, 48)
    importance = Importance(np.stack([np.arange(48.0), np.arange(48.0)[::-1] + 100]), np.ones((2, 1)))
    kept = build_path(full, importance, "width", WORK).reduction(0.2).neurons
    removed = np.flatnonzero(~kept[0])
    assert kept[1].all()
    assert (removed == np.arange(len(removed))).all()
    assert len(removed) > 0


def test_depth_changes_no_width_and_width_no_depth() -> None:
    full = a_shape(4, 2, 48)
    importance = Importance(np.ones((4, 48)), np.ones((4, 2)))
    deep: Reduction = build_path(full, importance, "depth", WORK).reduction(1.0)
    assert deep.neurons.all()
    assert deep.groups.all()
    assert deep.first_trained == 3
    assert build_path(full, importance, "width", WORK).reduction(1.0).first_trained == 0


def test_examples_change_no_shape_and_mixed_gives_up_both_alike() -> None:
    full = a_shape(6, 2, 48)
    few: Reduction = build_path(full, Importance.equal(full), "examples", WORK).reduction(1.0)
    assert few.is_whole
    assert (few.first_trained, few.examples) == (0, 0.25)
    path = build_path(full, Importance.equal(full), "mixed", WORK)
    for rate in path.prune:
        both = path.reduction(float(rate))
        # Four of six layers and three quarters of the examples can go.
        assert both.first_trained / 4 == pytest.approx((1 - both.examples) / 0.75, abs=0.3)
    assert (both.first_trained, both.examples) == (4, 0.25)


@given(paths(), st.floats(0, 1))
def test_the_limit_of_pruning_is_never_passed(path: ReductionPath, limit: float) -> None:
    assert path.within(limit) <= limit + 2e-6
    assert path.snapped(path.within(limit)) == path.within(limit)


def test_a_model_with_nothing_to_give_up_stays_whole() -> None:
    full = a_shape(1, 1, 48)
    path = build_path(full, Importance.equal(full), "depth", WORK)
    assert path.within(1.0) == path.snapped(1.0) == 0
    assert path.reduction(1.0).is_whole
