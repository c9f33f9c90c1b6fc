"""What is refused before anything is made."""

import os

import pytest

from airtune import AirtuneError, Scenario
from airtune.observer import Observer
from airtune.testbed.machine import check_scenario
from airtune.testbed.run import run_on_testbed


@pytest.fixture
def tiny():
    from pathlib import Path

    from airtune import load_scenario

    return load_scenario(Path(__file__).parents[2] / "examples" / "tiny.yaml")


def test_whoever_is_not_root_is_refused_in_one_line(tiny, tmp_path, monkeypatch):
    if os.geteuid() == 0:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(AirtuneError, match=r"^testbed: found user \d+, expected root.*$"):
        run_on_testbed(tiny, tmp_path / "run", Observer())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("method", "expected"),
    [("fedbuff", "whose rounds wait for all"), ("flora", "whose messages hold only what is counted")],
)
def test_methods_that_no_clock_can_follow_are_refused(method, expected, tiny):
    with pytest.raises(AirtuneError, match=f"found method {method}, expected one {expected}"):
        check_scenario(tiny.model_copy(update={"method": method}))


def test_simulated_faults_are_refused(tiny):
    faulty = Scenario.model_validate(tiny.model_dump() | {"faults": {"upload_loss": 0.5}})
    with pytest.raises(AirtuneError, match="faults"):
        check_scenario(faulty)
    check_scenario(tiny)
