"""Round times: what is planned is what is clocked where the plan is exact, and cells share their downlink."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airtune import InfeasibleError, Scenario, load_scenario
from airtune.costs.count import download_bytes, upload_bytes
from airtune.costs.error import Gradients
from airtune.costs.round_time import (
    ClientTime,
    bound_to,
    build_problem,
    clock_client,
    downlink_rates,
    uplink_rates,
)
from airtune.planning import ErrorPower, ErrorTable, evaluate, plan
from airtune.pruning.measured import MeasuredPath, measured_path
from airtune.radio.channel import draw_channels

EVERYONE = np.ones(4, dtype=bool)
UNLIKE = Gradients(np.ones(4), np.ones(4))
SECONDS = st.floats(0, 1e4)


@pytest.fixture(scope="module")
def tiny() -> Scenario:
    return load_scenario(Path(__file__).parents[2] / "examples" / "tiny.yaml")


@pytest.fixture(scope="module", params=["examples", "depth", "mixed", "width"])
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def measured(tiny, kind) -> MeasuredPath:
    return measured_path(tiny.model_copy(update={"reduction": kind}))


# How far bits may be off a straight line, as a share of the whole payload; mixed has a corner.
BENT = {"examples": 1e-9, "depth": 1e-9, "width": 0.02, "mixed": 0.25}


@pytest.mark.parametrize("fading", ["per-round", "ergodic", "none"])
def test_the_clock_agrees_with_the_plan(tiny, kind, measured, fading):
    """Exactly for the whole model; compute exactly everywhere; bits as well as a straight line fits them."""
    slow = tiny.clients[0].model_copy(update={"overhead": 7.0})
    radio = tiny.radio.model_copy(update={"fading": fading})
    scenario = tiny.model_copy(update={"radio": radio, "clients": (slow, tiny.clients[1])})
    curves, channels = measured.curves(tiny.prune_max, tiny.payload), draw_channels(tiny, 1)
    problem = build_problem(scenario, curves, channels, EVERYONE, UNLIKE)
    bandwidth = np.array([10e3, 20e3, 30e3, 40e3])
    down = downlink_rates(scenario, channels, EVERYONE)
    up = uplink_rates(scenario, channels, bandwidth)
    path = measured.path
    for rate in np.unique([path.snapped(prune) for prune in np.linspace(0, curves.prune[-1], 11)]):
        reduction = path.reduction(float(rate))
        shape, work = reduction.shape(path.full), measured.work.fewer(reduction.examples)
        planned = evaluate(problem, "fedit", np.full(4, rate), bandwidth)
        for client, member in enumerate(scenario.members()):
            bits = (8.0 * download_bytes(shape, tiny.payload), 8.0 * upload_bytes(shape, tiny.payload))
            spent = clock_client(
                shape,
                [work] * scenario.training.steps,
                member.device.flops_per_s,
                bits,
                (down[client], up[client]),
                member.overhead_s,
            )
            whole = (
                download_bytes(path.full, tiny.payload) / down[client]
                + upload_bytes(path.full, tiny.payload) / up[client]
            )
            slack = 8.0 * whole * (BENT[kind] if rate > 0 else 0.0)
            assert abs(spent.total_s - planned.client_round_s[client]) <= slack + 1e-9 * spent.total_s
            prunable = curves.flops.prunable * (1 - rate) + curves.flops.fixed
            expected = prunable * scenario.training.steps / member.device.flops_per_s
            assert spent.compute_s == pytest.approx(expected, rel=1e-9)
            assert spent.overhead_s == (7.0 if member.group == "slow" else 0.0)


def test_the_clock_counts_every_step_as_it_was(measured):
    shape, work = measured.path.full, measured.work
    long = replace(work, length=2 * work.length)
    one, other, both = (
        clock_client(shape, steps, 1e9, (800.0, 1600.0), (8.0, 16.0), 3.0)
        for steps in ([work], [long], [work, long])
    )
    assert both.compute_s == pytest.approx(one.compute_s + other.compute_s)
    assert other.compute_s > one.compute_s
    assert (both.download_s, both.upload_s) == (100.0, 100.0)
    assert both.total_s == both.download_s + 3.0 + both.compute_s + both.upload_s


@given(st.lists(SECONDS, min_size=4, max_size=4), SECONDS)
def test_what_is_done_of_a_round_is_done_phase_by_phase(seconds, end_s):
    whole = ClientTime(*seconds)
    done = whole.until(end_s)
    assert done.total_s == pytest.approx(min(whole.total_s, end_s))
    phases = list(zip(astuple(done), astuple(whole), strict=True))
    begun = [place for place, (part, _) in enumerate(phases) if part > 0]
    assert all(part == all_of_it for part, all_of_it in phases[: max(begun, default=0)])
    assert all(part <= all_of_it for part, all_of_it in phases)
    assert whole.until(whole.total_s * (1 + 1e-9)) == whole


@pytest.fixture(scope="module")
def examples_path(tiny) -> MeasuredPath:
    return measured_path(tiny)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 1e3), min_size=4, max_size=4), st.floats(0.1, 1e3))
def test_an_overhead_of_everybody_lengthens_the_planned_round(tiny, examples_path, before, more):
    """By as much with FedIT; by as much or more with joint, for which shorter rounds then save less."""
    curves, channels = examples_path.curves(tiny.prune_max, tiny.payload), draw_channels(tiny, 1)
    problems = [
        build_problem(
            tiny.with_nodes({}, {client: extra + own for client, own in enumerate(before)}),
            curves,
            channels,
            EVERYONE,
            UNLIKE,
        )
        for extra in (0.0, more)
    ]
    assert problems[1].fixed_s - problems[0].fixed_s == pytest.approx(np.full(4, more))
    for method in ("fedit", "joint"):
        first, second = (plan(problem, method) for problem in problems)
        assert second.round_s == pytest.approx(second.client_round_s.max())
        assert second.total_s <= first.rounds * (first.round_s + more) * (1 + 1e-6)
        assert second.total_s >= first.total_s * (1 - 1e-6) + problems[0].rounds.base * more
        slack = 1e-9 if method == "fedit" else 1e-3
        assert second.round_s >= (first.round_s + more) * (1 - slack)


def test_an_overhead_counts_with_sub_models_of_their_own_too(tiny, examples_path):
    curves, channels = examples_path.curves(tiny.prune_max, tiny.payload), draw_channels(tiny, 1)
    costs = [examples_path.costs(examples_path.path.reduction(0.0), tiny.payload)] * 4
    slow = tiny.with_nodes({}, {1: 40.0})
    plain, late = (
        bound_to(build_problem(one, curves, channels, EVERYONE, UNLIKE), one, channels, EVERYONE, costs)
        for one in (tiny, slow)
    )
    assert late.fixed_s - plain.fixed_s == pytest.approx([0, 40, 0, 0])


def test_participants_of_a_cell_share_its_downlink_equally(tiny):
    channels = draw_channels(tiny, 1)
    four = downlink_rates(tiny, channels, EVERYONE)
    two = downlink_rates(tiny, channels, np.array([True, False, True, False]))
    snr, cell = channels.downlink_snr_hz, tiny.cells[0].downlink
    assert four == pytest.approx(cell / 4 * np.log2(1 + snr / (cell / 4)))
    assert two == pytest.approx(cell / 2 * np.log2(1 + snr / (cell / 2)))
    assert (two > four).all()


def test_a_cell_s_downlink_is_not_its_neighbour_s(tiny):
    fields = tiny.model_dump()
    fields["cells"] = [{"id": "cell-0", "downlink": 1e6}, {"id": "south", "downlink": 2e6}]
    fields["clients"] = [{**fields["clients"][0], "cell": "south", "count": 3}, fields["clients"][1]]
    scenario = Scenario.model_validate(fields)
    channels = draw_channels(scenario, 1)
    rates = downlink_rates(scenario, channels, np.ones(5, dtype=bool))
    share = np.array([2e6 / 3] * 3 + [1e6 / 2] * 2)
    assert rates == pytest.approx(share * np.log2(1 + channels.downlink_snr_hz / share))


def test_the_problem_is_the_scenario_s(tiny, measured, kind):
    curves, channels = measured.curves(tiny.prune_max, tiny.payload), draw_channels(tiny, 2)
    problem = build_problem(tiny, curves, channels, EVERYONE, UNLIKE)
    assert problem.ids == ("slow-0", "slow-1", "fast-0", "fast-1")
    assert problem.bandwidth_hz.tolist() == [100e3]
    # Half of the weight stays whole, that of the faster clients, unless everybody trains everything.
    faster = curves.prune[-1] if kind == "examples" else 0.0
    assert problem.prune_max.tolist() == [curves.prune[-1]] * 2 + [faster] * 2
    assert problem.memory.budget_bytes.tolist() == [64e6, 64e6, 512e6, 512e6]
    assert problem.snr_hz.tolist() == channels.uplink_snr_hz.tolist()
    assert isinstance(problem.rounds.error, ErrorTable)
    power = tiny.convergence.model_copy(update={"exponent": 2.0})
    changed = build_problem(
        tiny.model_copy(update={"convergence": power}), curves, channels, EVERYONE, UNLIKE
    )
    assert changed.rounds.error == ErrorPower(2.0)


def test_memory_puts_a_floor_under_pruning(tiny, measured):
    """The least rate of the path at which a client's memory holds its training, whatever is given up."""
    curves, channels = measured.curves(1.0, tiny.payload), draw_channels(tiny, 1)
    need = curves.memory_bytes
    assert (np.diff(need) <= 0).all()
    assert need[-1] < need[0]
    enough = (need[0], 0.5 * (need[0] + need[-1]), need[-1], 0.9 * need[-1])
    groups = [
        tiny.clients[0].model_copy(update={"id": f"c{n}", "count": 1, "memory": float(budget)})
        for n, budget in enumerate(enough)
    ]
    scenario = tiny.model_copy(update={"clients": tuple(groups), "prune_max": 1.0})
    problem = build_problem(scenario, curves, channels, EVERYONE, UNLIKE)
    floors = problem.prune_min
    assert floors[0] == 0
    k = int(np.searchsorted(curves.prune, floors[1]))
    assert need[k] <= enough[1] < need[k - 1]
    assert floors[2] == curves.prune[np.argmax(need == need[-1])]
    with pytest.raises(InfeasibleError, match="c3: needs"):
        problem.prune_floor()
