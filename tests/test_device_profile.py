"""Device profiles: fitted, written, read by scenarios, and refused where they are wrong."""

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from airtune import InputError, load_scenario
from airtune.device_profile import read_device
from airtune.federation.profiling import fit_throughput, profile_device

SCENARIO = "clients: [{id: a, device: %s, distance: 300 m}]\n"


@given(st.floats(1e3, 1e15), st.lists(st.floats(1e6, 1e15), min_size=1, max_size=9))
def test_a_constant_throughput_is_found_without_error(throughput, flops):
    found, error = fit_throughput(np.array(flops), np.array(flops) / throughput)
    assert found == pytest.approx(throughput)
    assert error == pytest.approx(0, abs=1e-6)


def test_the_fit_is_the_least_squares_of_logarithms():
    flops, seconds = np.array([1e9, 3e9, 4e10]), np.array([0.01, 0.02, 0.3])
    found, error = fit_throughput(flops, seconds)
    residual = [np.log(flops / guess / seconds) for guess in (found, 1.05 * found, 0.95 * found)]
    assert min(range(3), key=lambda place: float(residual[place] @ residual[place])) == 0
    assert error == pytest.approx(np.sqrt(np.mean(residual[0] ** 2)))


def test_this_machine_becomes_a_device_of_a_scenario(tmp_path):
    lines = []
    profile = profile_device("tiny", tmp_path / "here.yaml", lines.append)
    steps = profile.measured["steps"]
    assert len(lines) - 1 == len(steps) == 9
    assert all(step["seconds"] > 0 and step["peak_bytes"] > 0 and 0 <= step["prune"] <= 1 for step in steps)
    speeds = [step["flops"] / step["seconds"] for step in steps]
    assert min(speeds) <= profile.throughput <= max(speeds)
    assert profile.overhead > 0
    assert read_device(tmp_path / "here.yaml") == profile.model_dump(exclude={"measured"})
    (tmp_path / "scenario.yaml").write_text(SCENARIO % "here.yaml")
    (member,) = load_scenario(tmp_path / "scenario.yaml").members()
    device = member.device
    assert member.overhead_s == 0  # how messages are answered is up to whoever runs a node, not to its device
    assert (device.name, device.flops_per_s, device.memory_bytes) == (
        "here",
        profile.throughput,
        profile.memory,
    )
    assert yaml.safe_load((tmp_path / "here.yaml").read_text())["measured"]["model"] == "tiny"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("name: x\nmemory: 1 GB\n", "throughput: found nothing, expected a value"),
        (
            "name: x\nmemory: 1 GB\nthroughput: 5 GB\n",
            "throughput: found '5 GB', expected a number in FLOP/s",
        ),
        (
            "name: x\nmemory: 1\nthroughput: 5\noverhead: -1 s\n",
            "overhead: found '-1 s', expected at least 0",
        ),
        ("name: x\nmemory: 1\nthroughput: 5\nspeed: 3\n", "speed: found an unknown field"),
        ("[]", "found an empty list, expected a mapping"),
        ("a: [", "expected valid YAML"),
    ],
)
def test_a_wrong_profile_is_refused_by_its_own_name(tmp_path, content, complaint):
    (tmp_path / "mine.yaml").write_text(content)
    (tmp_path / "scenario.yaml").write_text(SCENARIO % "mine.yaml")
    with pytest.raises(InputError) as error:
        load_scenario(tmp_path / "scenario.yaml")
    assert error.value.file == str(tmp_path / "mine.yaml")
    assert complaint in str(error.value)


def test_a_profile_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none.yaml: found No such file"):
        read_device(tmp_path / "none.yaml")


def test_a_file_name_that_is_no_name_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(InputError, match=r"name: found 'my device'"):
        profile_device("tiny", tmp_path / "my device.yaml", pytest.fail)
