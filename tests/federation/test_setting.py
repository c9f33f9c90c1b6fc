"""Methods with sub-models of their own: what is planned is what they cost."""

import pytest

from airtune import Scenario, plan
from airtune.costs.count import download_bytes, upload_bytes
from airtune.errors import ArgumentError
from airtune.federation.clock import Work, clock_round
from airtune.federation.gradients import unknown
from airtune.federation.round import plan_round
from airtune.federation.setting import Setting, make_setting
from airtune.planning import Pace
from airtune.pruning.measured import measured_path

OWN = ("heterofl", "fedrolex", "hetlora", "flexlora")


def setting_of(scenario: Scenario, **changes: object) -> Setting:
    fields = scenario.model_dump() | changes
    scenario = Scenario.model_validate(fields)
    return make_setting(scenario, measured_path(scenario))


@pytest.mark.parametrize("reduction", ["examples", "depth", "width"])
@pytest.mark.parametrize("method", OWN)
def test_the_clock_agrees_with_the_plan(tiny, method, reduction):
    """To rounding: nothing is fitted. The slow pair's sub-models are smaller than the fast pair's."""
    setting = setting_of(tiny, method=method, reduction=reduction)
    for number in (1, 5):
        planned = plan_round(setting, unknown(tiny), Pace(), number)
        shapes = {
            client: asked.reduction.shape(setting.measured.path.full)
            for client, asked in planned.assignments.items()
        }
        steps = [setting.measured.work] * tiny.training.steps
        work = {
            client: Work(shape, steps, download_bytes(shape, tiny.payload), upload_bytes(shape, tiny.payload))
            for client, shape in shapes.items()
        }
        times = clock_round(setting, number, planned.channels, planned.plan, work)
        assert sorted(times) == [0, 1, 2, 3]
        for client, spent in times.items():
            assert spent.total_s == pytest.approx(planned.plan.client_round_s[client], rel=1e-12)
        assert max(upload_bytes(shapes[slow], tiny.payload) for slow in (0, 1)) < min(
            upload_bytes(shapes[fast], tiny.payload) for fast in (2, 3)
        )


@pytest.mark.parametrize("method", OWN)
def test_numbers_without_a_model_are_too_little(tiny, method):
    setting = setting_of(tiny, method="fedit")
    planned = plan_round(setting, unknown(tiny), Pace(), 1)
    problem = setting.situation(planned.channels, unknown(tiny)).problem(setting.participates)
    with pytest.raises(ArgumentError, match=f"method: found '{method}', expected another, or a scenario"):
        plan(problem, method)
    assert plan(tiny, method).round_s < plan(tiny, "fedit").round_s


def test_who_waits_trains_on_for_as_many_steps_as_its_own_sub_model_allows(tiny):
    """A client's extra steps end before the round does, and one more would not."""
    training = tiny.training.model_dump() | {"most_steps": 1000}
    setting = setting_of(tiny, method="heterofl", training=training)
    planned = plan_round(setting, unknown(tiny), Pace(), 1)
    path, speed = setting.measured.path, [member.device.flops_per_s for member in tiny.members()]
    for client, asked in planned.assignments.items():
        step_s = asked.reduction.step_flops(path.full, setting.measured.work) / speed[client]
        longer = planned.plan.client_round_s[client] + (asked.steps - tiny.training.steps) * step_s
        assert longer <= planned.plan.round_s * (1 + 1e-9)
        assert longer + step_s > planned.plan.round_s
    assert max(asked.steps for asked in planned.assignments.values()) > tiny.training.steps
