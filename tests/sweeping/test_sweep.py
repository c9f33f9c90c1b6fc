"""Sweeps of a comparison against runs that are really played elsewhere."""

import csv
import shutil

import pytest

from airtune import AirtuneError, InputError, run, sweep
from airtune.comparing.folder import LEARNT
from airtune.federation.setting import make_setting
from airtune.pruning.measured import MeasuredPath
from airtune.results.comparison import Comparison
from airtune.results.history import History
from airtune.sweeping.axes import scenario_at
from airtune.sweeping.clocks import kept_rounds

pytestmark = pytest.mark.slow

EXAMPLES = {"reduction": "examples"}


@pytest.fixture(scope="module")
def swept(compared):
    """Compute as it is, and so slow or fast that links or devices hardly matter; and two other axes."""
    return sweep(compared, compute=[1e-3, 1, 1e6], bandwidth=["50 kHz"], heterogeneity=[0], clients=[4, 6])


def at(swept, axis: str, value: float):
    return next(point for point in swept.points if (point.axis, point.value) == (axis, value))


def seconds(times, method: str) -> float | None:
    return times.by[method, "examples", "own"][0]


def test_where_nothing_changes_every_run_takes_what_it_took(swept):
    point = at(swept, "compute", 1)
    assert not point.kept
    for entry in swept.comparison.entries:
        if entry.method != "fedbuff":
            took = swept.comparison.times(entry)[0]
            assert seconds(point.clocked, entry.method) == (took if took is None else pytest.approx(took))


@pytest.mark.parametrize("method", ["fedit", "bandwidth-only"])
@pytest.mark.parametrize(("axis", "value"), [("compute", 1e-3), ("bandwidth", 5e4)])
def test_what_prunes_nothing_takes_what_a_run_there_takes(
    swept, compared, tiny, tmp_path, method, axis, value
):
    elsewhere = scenario_at(tiny, axis, value).model_copy(update={**EXAMPLES, "method": method})
    history = History.read(run(elsewhere, tmp_path / "run", learnt=compared / LEARNT))
    point = at(swept, axis, value)
    assert not any(kept[0] == method for kept in point.kept)
    (there,) = [entry for entry in swept.comparison.entries if entry.method == method]
    (learnt,) = there.runs
    assert history.per_round("loss").tolist() == learnt.history.per_round("loss").tolist()
    share = learnt.to_loss(swept.comparison.target_loss, None)
    clock, whole = history.per_round("clock_s"), int(share)
    after = clock[whole] if whole < len(clock) else clock[-1]
    before = clock[whole - 1] if whole else 0.0
    took = before + (share - whole) * (after - before)
    assert seconds(point.clocked, method) == pytest.approx(took, rel=1e-9)


def test_a_method_that_comes_to_plan_like_another_takes_its_rounds(swept):
    """With devices that fast nothing is worth giving up, and `joint` is `bandwidth-only`."""
    point = at(swept, "compute", 1e6)
    assert ("joint", "examples", "own", 0) not in point.kept
    assert seconds(point.clocked, "joint") == pytest.approx(
        seconds(point.clocked, "bandwidth-only"), rel=1e-6
    )


def test_who_would_train_differently_keeps_the_schedule_that_was_learnt(swept):
    point = at(swept, "heterogeneity", 0)
    assert ("joint", "examples", "own", 0) in point.kept
    (joint,) = [entry for entry in swept.comparison.entries if entry.method == "joint"]
    took = swept.comparison.times(joint)[0]
    assert (seconds(point.clocked, "joint") is None) == (took is None)


def test_a_kept_schedule_is_clocked_with_bandwidth_planned_anew(compared, tiny):
    """Where nothing changes, as it was: but for the sub-models' rates, whole steps beside the plan's."""
    for method in ("joint", "fedit", "drop-slowest"):
        folder = compared / "runs" / f"{method}-examples-0"
        history, scenario = History.read(folder), tiny.model_copy(update={**EXAMPLES, "method": method})
        setting = make_setting(scenario, MeasuredPath.load(folder / "path.npz"))
        for before, after in zip(history.rounds, kept_rounds(history, setting), strict=True):
            exact = 0.05 if method == "joint" else 1e-9
            assert after["round_s"] == pytest.approx(before["round_s"], rel=exact)
            for was, now in zip(before["clients"], after["clients"], strict=True):
                assert (now["id"], now["prune"], now["loss"]) == (was["id"], was["prune"], was["loss"])
                assert now["compute_s"] == pytest.approx(was["compute_s"], rel=1e-9)
                assert now["bandwidth_hz"] == pytest.approx(was["bandwidth_hz"], rel=exact)


def test_a_kept_schedule_is_clocked_wherever_the_target_is(compared, tiny):
    """Even where, of gradients that nobody has measured yet, it would seem to be out of reach."""
    folder = compared / "runs" / "drop-slowest-examples-0"
    history, changes = History.read(folder), {**EXAMPLES, "method": "drop-slowest"}
    far = tiny.convergence.model_copy(update={"penalty": 1e6})
    clocked = []
    for convergence in (tiny.convergence, far):
        scenario = tiny.model_copy(update={**changes, "convergence": convergence})
        setting = make_setting(scenario, MeasuredPath.load(folder / "path.npz"))
        clocked.append([event["round_s"] for event in kept_rounds(history, setting)])
    assert clocked[0] == clocked[1]


def test_predictions_are_rounds_times_seconds(swept, tiny):
    """Of a method that loses nothing: `base` rounds, whatever the devices."""
    slow, asitis = at(swept, "compute", 1e-3), at(swept, "compute", 1)
    assert seconds(slow.predicted, "fedit") > 100 * seconds(asitis.predicted, "fedit")
    for point in swept.points:
        assert seconds(point.predicted, "joint") <= seconds(point.predicted, "bandwidth-only") * (1 + 1e-6)
        assert seconds(point.predicted, "bandwidth-only") <= seconds(point.predicted, "fedit") * (1 + 1e-9)


def test_as_many_clients_as_there_are_change_no_prediction(swept):
    same, asitis = at(swept, "clients", 4), at(swept, "compute", 1)
    for method in ("joint", "fedit", "bandwidth-only", "drop-slowest"):
        assert seconds(same.predicted, method) == pytest.approx(seconds(asitis.predicted, method), rel=1e-6)
    assert not same.clocked.by


def test_what_merges_without_waiting_is_left_out_and_named(swept):
    assert swept.left_out == ("fedbuff",)
    assert all(label[0] != "fedbuff" for point in swept.points for label in point.predicted.by)


def test_the_table_has_a_row_a_value_method_and_seed(swept, compared):
    with (compared / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 * 5
    best = at(swept, "bandwidth", 5e4).clocked.best_baseline
    for row in rows:
        point = at(swept, row["axis"], float(row["value"]))
        run = row["method"], row["reduction"], row["bandwidth"], int(row["seed"])
        own = "" if row["axis"] == "clients" else "own"
        assert row["schedule"] == ("kept" if run in point.kept else own)
        if (row["axis"], row["method"]) == ("bandwidth", best[0]):
            assert (row["ratio_to_best_baseline"], row["schedule"]) == ("1.0", "own")
    assert {row["schedule"] for row in rows} == {"own", "kept", ""}


def test_sweeping_leaves_the_comparison_as_it_was(compared, swept):
    assert Comparison.load(compared).target_loss == swept.comparison.target_loss


def test_only_comparisons_are_swept(compared, tmp_path):
    with pytest.raises(InputError, match="expected the settings of a comparison"):
        sweep(tmp_path, compute=[2])
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("compare.json", "scenario.yaml"):
        shutil.copy(compared / name, empty)
    with pytest.raises(AirtuneError, match="no run of this comparison has ended"):
        sweep(empty, compute=[2])


def test_faults_are_refused_for_they_depend_on_the_clock(compared, tmp_path):
    folder = shutil.copytree(compared, tmp_path / "faulty")
    told = (folder / "scenario.yaml").read_text()
    assert "upload_loss: 0.0" in told
    (folder / "scenario.yaml").write_text(told.replace("upload_loss: 0.0", "upload_loss: 0.1"))
    with pytest.raises(InputError, match="faults: found some, expected none, where devices are swept"):
        sweep(folder, compute=[1])
