"""The measured path in its file and in the cache."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from airtune import Scenario, load_scenario
from airtune.pruning.measured import MeasuredPath, measured_path
from airtune.pruning.path import MeanInputs
from airtune.scenario import Payload

TINY = Path(__file__).parents[2] / "examples" / "tiny.yaml"


@pytest.fixture(scope="module")
def tiny() -> Scenario:
    return load_scenario(TINY)


@pytest.fixture(scope="module")
def tiny_path(tiny) -> MeasuredPath:
    return measured_path(tiny)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("AIRTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def equal_means(left: MeanInputs | None, right: MeanInputs | None) -> bool:
    if left is None or right is None:
        return left is right
    return (left.queries == right.queries).all() and (left.neurons == right.neurons).all()


def equal(left: MeasuredPath, right: MeasuredPath) -> bool:
    errors = ("prune", "missed", "wrong", "noisier")
    arrays = ("neuron_order", "group_order", "kinds", "layers", "prune")
    return (
        (left.work, left.weight_bytes) == (right.work, right.weight_bytes)
        and all((getattr(left.error, name) == getattr(right.error, name)).all() for name in errors)
        and all((getattr(left.path, name) == getattr(right.path, name)).all() for name in arrays)
        and equal_means(left.path.mean, right.path.mean)
        and left.path.full.layout == right.path.full.layout
        and list(left.path.full.adapter_shapes()) == list(right.path.full.adapter_shapes())
    )


@pytest.fixture(scope="module")
def width_path(tiny) -> MeasuredPath:
    return measured_path(tiny.model_copy(update={"reduction": "width", "criterion": "flap"}))


def test_a_path_keeps_the_mean_inputs(width_path, tmp_path):
    assert width_path.path.mean.neurons.shape == (4, 128)
    width_path.save(tmp_path / "path.npz")
    assert equal(MeasuredPath.load(tmp_path / "path.npz"), width_path)


def test_the_planner_counts_the_mean_inputs_of_lost_units(width_path):
    bare = replace(width_path, path=replace(width_path.path, mean=None))
    more, less = (measured.curves(1.0, Payload()).download_bits for measured in (width_path, bare))
    assert more.fixed > less.fixed
    assert more.fixed + more.prunable == less.fixed + less.prunable  # a full client lost nothing


def test_a_path_is_read_as_it_was_written(tiny_path, tmp_path):
    tiny_path.save(tmp_path / "new" / "path.npz")
    assert equal(MeasuredPath.load(tmp_path / "new" / "path.npz"), tiny_path)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["path.npz"]


def test_errors_are_measured_where_the_path_has_them(tiny_path):
    error = tiny_path.error
    assert error.prune[0] > 0
    assert error.prune[-1] == 1
    assert all(tiny_path.path.snapped(rate) == rate for rate in error.prune)
    assert (np.diff(error.missed) > 0).all()
    assert (error.missed > 0).all()
    assert (error.missed < 1).all()
    # The function of depth reductions is the full model's, and so are their examples.
    assert (error.wrong == 0).all()
    assert (error.noisier == 0).all()


def test_a_scenario_is_measured_once(tiny, cache, monkeypatch):
    first = measured_path(tiny)
    (file,) = (cache / "paths").iterdir()

    def never(scenario):
        raise AssertionError("measured a second time")

    monkeypatch.setattr("airtune.pruning.measure.measure_path", never)
    assert equal(measured_path(tiny), first)
    # What the path does not depend on does not measure anew; what it depends on does.
    same = {"method": "fedit", "rounds": 9, "prune_max": 0.5, "name": "other"}
    measured_path(Scenario.model_validate(tiny.model_dump() | same))
    for changes in ({"seed": 9}, {"reduction": "width"}, {"criterion": "flap"}, {"lora": {"rank": 2}}):
        with pytest.raises(AssertionError, match="second time"):
            measured_path(Scenario.model_validate(tiny.model_dump() | changes))
    assert list((cache / "paths").iterdir()) == [file]


def archive_of_other_things(file: Path) -> None:
    np.savez(file, something=1)


def half(file: Path) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    "damage",
    [
        archive_of_other_things,
        half,
        Path.unlink,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"no archive"),
        lambda file: file.write_bytes(b"PK\x03\x04"),
        lambda file: np.save(file.open("wb"), np.ones(3)),
    ],
)
def test_a_damaged_file_is_measured_anew(damage, tiny, tiny_path, cache, monkeypatch):
    known, measurements = tiny_path, []

    def measure(scenario):
        measurements.append(scenario)
        return known

    monkeypatch.setattr("airtune.pruning.measure.measure_path", measure)
    measured_path(tiny)
    (file,) = (cache / "paths").iterdir()
    damage(file)
    with pytest.raises(ValueError, match="not a measured path"):
        MeasuredPath.load(file)
    assert equal(measured_path(tiny), known)
    assert equal(measured_path(tiny), known)
    assert measurements == [tiny, tiny]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("kinds", lambda kinds: np.array(0)),
        ("kinds", lambda kinds: kinds + 9),
        ("kinds", lambda kinds: kinds[:-1]),
        ("layers", lambda layers: layers - 1),
        ("layers", lambda layers: layers + 100),
        ("layers", lambda layers: layers.astype(float)),
        ("prune", lambda prune: prune[::-1]),
        ("prune", lambda prune: prune * np.nan),
        ("prune", lambda prune: prune * 2),
        ("prune", lambda prune: prune.astype(complex)),
        ("neuron_order", lambda order: order + 1),
        ("neuron_order", lambda order: order[:1]),
        ("neuron_order", lambda order: order[:, :-1]),
        ("group_order", lambda order: order * 0),
        ("neurons", lambda neurons: neurons * 2**40),
        ("kv_groups", lambda groups: groups[:0]),
        ("sizes", lambda sizes: sizes * 0),
        ("sizes", lambda sizes: sizes * 2**50),
        ("projections", lambda names: np.array(["nothing"])),
        ("weight_bytes", lambda size: -size),
        ("work", lambda work: work * np.nan),
        ("work", lambda work: work * -1),
        ("error", lambda error: error * -1),
        ("error", lambda error: error[:, ::-1]),
        ("error", lambda error: error[:3]),
        ("error", lambda error: error * np.inf),
        ("mean_queries", lambda mean: np.ones((1, 2), np.float32)),
    ],
)
def test_a_file_whose_numbers_cannot_be_a_path_is_refused(name, change, tiny_path, tmp_path):
    file = tmp_path / "path.npz"
    tiny_path.save(file)
    with np.load(file) as stored:
        arrays = dict(stored)
    np.savez(file, **arrays | {name: change(arrays[name])})
    with pytest.raises(ValueError, match="not a measured path"):
        MeasuredPath.load(file)


@pytest.mark.usefixtures("tiny_path")
def test_planning_a_second_time_needs_no_torch():
    code = (
        "import sys, airtune;"
        f"plan = airtune.plan(airtune.load_scenario({str(TINY)!r}));"
        "assert plan.total_s > 0;"
        "print([name for name in ('torch', 'transformers', 'flwr', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
