"""The numbers of a comparison, against runs whose numbers can be worked out by hand."""

import numpy as np
import pytest
from compared import begin, write_run

from airtune import AirtuneError, InputError
from airtune.learning.tasks.answers import Metric
from airtune.results.comparison import Comparison

FALLING = [4.0, 3.0, 2.0, 1.0]


def test_time_to_target_is_linear_between_rounds(tmp_path):
    runs = begin(tmp_path, ["joint"], target_loss=2.25)
    write_run(runs / "joint-examples-0", FALLING, 10.0)
    (run,) = Comparison.load(tmp_path).runs
    assert run.to_loss(2.25, "round_s") == pytest.approx(17.5)
    assert run.to_loss(2.25, None) == pytest.approx(1.75)
    assert run.to_loss(2.25, "bytes_down") == pytest.approx(35)
    assert run.to_loss(1.0, "round_s") == 30
    assert run.to_loss(0.5, "round_s") is None
    assert run.to_loss(4.0, "round_s") == 0
    assert run.final_loss == 1


def test_the_first_time_below_counts_even_if_the_loss_rises_again(tmp_path):
    write_run(begin(tmp_path, ["joint"]) / "joint-examples-0", [4.0, 2.0, 3.0, 1.0], 10.0)
    (run,) = Comparison.load(tmp_path).runs
    assert run.to_loss(2.5, "round_s") == pytest.approx(7.5)


def test_energy_is_the_sum_over_rounds(tmp_path):
    write_run(begin(tmp_path, ["joint"]) / "joint-examples-0", FALLING, 10.0, energy_j=7.0)
    (run,) = Comparison.load(tmp_path).runs
    assert run.energy_j == 21.0
    assert run.to_loss(FALLING[2], "energy_j") == 14.0


def test_energy_that_a_run_does_not_tell_is_not_made_up(tmp_path):
    write_run(begin(tmp_path, ["joint"]) / "joint-examples-0", FALLING, 10.0)
    (run,) = Comparison.load(tmp_path).runs
    assert run.energy_j is None
    assert run.to_loss(FALLING[2], "energy_j") is None


def test_the_target_is_where_fedit_ends_at_worst(tmp_path):
    runs = begin(tmp_path, ["joint", "fedit"], seeds=2)
    for seed, last in enumerate((1.0, 1.5)):
        write_run(runs / f"fedit-examples-{seed}", [4.0, 3.0, 2.0, last], 10.0)
        write_run(runs / f"joint-examples-{seed}", [4.0, 3.0, 2.0, 1.8], 10.0)
    assert Comparison.load(tmp_path).target_loss == 1.5


def test_without_fedit_the_target_is_the_worst_end(tmp_path):
    runs = begin(tmp_path, ["joint", "jcpba"])
    write_run(runs / "joint-examples-0", FALLING, 10.0)
    write_run(runs / "jcpba-examples-0", [4.0, 3.0, 2.0, 1.2], 10.0)
    assert Comparison.load(tmp_path).target_loss == 1.2


def test_the_best_baseline_reaches_the_target_most_often_and_then_fastest(tmp_path):
    runs = begin(tmp_path, ["joint", "fedit", "drop-slowest", "bandwidth-only"], seeds=2, target_loss=1.0)
    for seed in (0, 1):
        write_run(runs / f"joint-examples-{seed}", FALLING, 1.0)
        write_run(runs / f"fedit-examples-{seed}", FALLING, 10.0)
        write_run(runs / f"bandwidth-only-examples-{seed}", FALLING, 8.0)
        write_run(runs / f"drop-slowest-examples-{seed}", [4.0, 3.0, 2.0, 1.0 + seed], 2.0)
    comparison = Comparison.load(tmp_path)
    assert comparison.best_baseline.method == "bandwidth-only"
    assert comparison.winner.method == "joint"
    dropping = next(entry for entry in comparison.entries if entry.method == "drop-slowest")
    assert comparison.ratio(dropping, comparison.best_baseline) is None


def test_ratios_are_paired_geometric_means_with_an_interval(tmp_path):
    runs = begin(tmp_path, ["joint", "fedit"], seeds=3, target_loss=1.0)
    ratios = [0.5, 0.4, 0.8]
    for seed, ratio in enumerate(ratios):
        write_run(runs / f"fedit-examples-{seed}", FALLING, 10.0 * (seed + 1))
        write_run(runs / f"joint-examples-{seed}", FALLING, 10.0 * (seed + 1) * ratio)
    comparison = Comparison.load(tmp_path)
    joint, fedit = comparison.entries
    found = comparison.ratio(joint, fedit)
    assert found.mean == pytest.approx(np.prod(ratios) ** (1 / 3))
    # With three seeds one resample in 27 holds the least ratio alone: the interval ends there.
    assert (found.low, found.high) == (pytest.approx(0.4), pytest.approx(0.8))
    assert comparison.ratio(joint, fedit) == found
    of_itself = comparison.ratio(fedit, fedit)
    assert (of_itself.mean, of_itself.low, of_itself.high) == (1, 1, 1)


def test_one_seed_has_no_interval(tmp_path):
    runs = begin(tmp_path, ["joint", "fedit"])
    write_run(runs / "fedit-examples-0", FALLING, 10.0)
    write_run(runs / "joint-examples-0", FALLING, 5.0)
    joint, fedit = Comparison.load(tmp_path).entries
    found = Comparison.load(tmp_path).ratio(joint, fedit)
    assert (found.mean, found.low, found.high) == (0.5, None, None)


def test_what_has_not_ended_is_missing(tmp_path):
    runs = begin(tmp_path, ["joint", "fedit"])
    with pytest.raises(AirtuneError, match="no run of this comparison has ended"):
        Comparison.load(tmp_path)
    write_run(runs / "joint-examples-0", FALLING, 10.0, metric=0.25, groups=True)
    comparison = Comparison.load(tmp_path)
    assert comparison.missing == ("fedit-examples-0",)
    (run,) = comparison.runs
    assert run.metric == Metric("accuracy", 0.25, 8, {"one": 0.125})
    assert run.group_loss == {"one": 0.5}


BAD_GROUPS = '{"name": "accuracy", "value": 0.5, "examples": 8, "by_group": {"one": "many"}}'


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        ("{", r"metric\.json: found JSONDecodeError"),
        ("[]", r"metric\.json: found an empty list"),
        (BAD_GROUPS, r"metric\.json: by_group\.one: found 'many'"),
    ],
)
def test_damaged_folders_are_named(damaged, expected, tmp_path):
    with pytest.raises(InputError, match=r"compare\.json: found No such file"):
        Comparison.load(tmp_path)
    runs = begin(tmp_path, ["joint"])
    write_run(runs / "joint-examples-0", FALLING, 10.0, metric=0.25)
    (runs / "joint-examples-0" / "metric.json").write_text(damaged)
    with pytest.raises(InputError, match=expected):
        Comparison.load(tmp_path)
