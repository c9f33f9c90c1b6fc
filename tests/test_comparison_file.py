"""compare.json, and the runs that follow from it."""

import json
from pathlib import Path

import pytest

from airtune import InputError, load_scenario
from airtune.comparison_file import SETTINGS, Job, Settings, checked_settings, jobs_of
from airtune.methods import METHODS

TINY = load_scenario(Path(__file__).parents[1] / "examples" / "tiny.yaml")


def settings(**changes: object) -> Settings:
    fields = {"methods": ["joint", "fedit"], "reductions": ["depth"], "seeds": [0]}
    return checked_settings(fields | changes, "compare")


def test_settings_are_read_as_they_were_written(tmp_path):
    written = settings(seeds=[0, 1], target_loss=1.5, budget="60 s")
    (tmp_path / SETTINGS).write_text(written.dump())
    assert '"schema": "airtune-compare/1"' in written.dump()
    assert Settings.load(tmp_path) == written


@pytest.mark.parametrize(
    ("given", "amount", "unit"),
    [
        *(
            (400, 400.0, "s"),
            (0.5, 0.5, "s"),
            ("400", 400.0, "s"),
            ("400 s", 400.0, "s"),
            ("1e3ms", 1.0, "s"),
        ),
        *(("500 MB", 5e8, "B"), ("1 GiB", 2.0**30, "B"), ("20 kJ", 2e4, "J"), ("3J", 3.0, "J")),
    ],
)
def test_a_budget_has_a_unit(given, amount, unit):
    read = settings(budget=given)
    assert (read.budget.amount, read.budget.unit) == (pytest.approx(amount), unit)
    assert checked_settings(json.loads(read.dump()), "") == read
    if unit == "s":  # as folders of earlier versions say it
        assert settings(budget_s=read.budget.amount) == read


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"methods": []}, "compare: methods: found an empty list, expected at least 1"),
        ({"methods": ["joint", "magic"]}, "compare: methods.1: found 'magic', expected one of joint, "),
        ({"methods": ["joint", "joint"]}, "compare: methods: found joint twice, expected each of them once"),
        ({"reductions": ["height"]}, "compare: reductions.0: found 'height', expected 'examples', "),
        ({"bandwidth": ["equal"]}, "compare: bandwidth.0: found 'equal', expected 'own' or 'optimal'"),
        ({"seeds": [-1]}, "compare: seeds.0: found -1, expected at least 0"),
        ({"target_loss": 0}, "compare: target_loss: found 0, expected above 0.0"),
        ({"target_loss": float("nan")}, "compare: target_loss: found nan, expected a finite number"),
        ({"budget": float("inf")}, "compare: budget: found inf, expected seconds, bytes or joules above 0"),
        ({"budget": -1}, "compare: budget: found -1, expected seconds, bytes or joules above 0"),
        ({"budget": "0 MB"}, "compare: budget: found '0 MB', expected seconds, bytes or joules above 0"),
        ({"budget": "3 parsec"}, "compare: budget: found '3 parsec', expected seconds, bytes or joules"),
        ({"budget": True}, "compare: budget: found true, expected seconds, bytes or joules above 0"),
        ({"colour": "red"}, "compare: colour: found an unknown field"),
    ],
)
def test_wrong_settings_are_named(changes, expected):
    with pytest.raises(InputError) as refused:
        settings(**changes)
    assert str(refused.value).startswith(expected)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"methods": 1}', "[" * 10_000])
def test_a_damaged_file_is_named(text, tmp_path):
    (tmp_path / SETTINGS).write_text(text)
    with pytest.raises(InputError, match=SETTINGS):
        Settings.load(tmp_path)


def test_no_file_is_named(tmp_path):
    with pytest.raises(InputError, match=rf"{SETTINGS}: found No such file"):
        Settings.load(tmp_path)


def test_what_prunes_nothing_has_the_scenario_s_reduction_only():
    jobs = jobs_of(settings(reductions=["width", "mixed"], seeds=[0, 3]), TINY)
    assert sorted(job.name for job in jobs) == [
        *("fedit-depth-0", "fedit-depth-3"),
        *("joint-mixed-0", "joint-mixed-3", "joint-width-0", "joint-width-3"),
    ]


def test_optimal_bandwidth_where_it_makes_a_difference():
    both = settings(methods=["joint", "fedit", "fedbuff", "uniform"], bandwidth=["own", "optimal"])
    assert sorted(job.name for job in jobs_of(both, TINY)) == [
        *("fedbuff-depth-0", "fedit-depth-0", "fedit-depth-optimal-0"),
        *("joint-depth-0", "uniform-depth-0", "uniform-depth-optimal-0"),
    ]
    (joint, fedbuff) = jobs_of(settings(methods=["joint", "fedbuff"], bandwidth=["optimal"]), TINY)
    assert (joint.bandwidth, fedbuff.bandwidth) == ("own", "optimal")
    expected = "bandwidth: found 'optimal', expected own, as fedbuff waits for no round to end"
    with pytest.raises(InputError, match=expected):
        METHODS["fedbuff"].check(fedbuff.scenario(TINY))


def test_jobs_that_learn_the_same_come_after_the_one_that_learns():
    methods = ["fedit", "bandwidth-only", "joint", "jcpba"]
    names = [job.name for job in jobs_of(settings(methods=methods, seeds=[0, 1]), TINY)]
    assert names[-2:] == ["bandwidth-only-depth-0", "bandwidth-only-depth-1"]
    assert set(names[:6]) == {
        f"{method}-depth-{seed}" for method in ("fedit", "joint", "jcpba") for seed in (0, 1)
    }


def test_a_job_s_scenario():
    played = Job("jcpba", "width", 2).scenario(TINY)
    assert (played.method, played.reduction, played.seed) == ("jcpba", "width", 3)
    assert played.clients == TINY.clients
    with pytest.raises(InputError, match="scenario of joint-depth-2: seed: "):
        Job("joint", "depth", 2).scenario(TINY.model_copy(update={"seed": 2**63 - 2}))
