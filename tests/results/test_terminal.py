"""What a run and a comparison say while they go on."""

from pathlib import Path

import pytest

from airtune import load_scenario
from airtune.results.terminal import CompareProgress, RunProgress

TINY = Path(__file__).parents[2] / "examples" / "tiny.yaml"


def told(events, capsys) -> list[str]:
    start, *rounds, _ = events
    with RunProgress(load_scenario(TINY, rounds=6)) as progress:
        progress.on_start(start, 0)
        for event in rounds:
            progress.on_round(event)
    return capsys.readouterr().out.splitlines()


def test_every_round_is_a_line(make_events, capsys):
    lines = told(make_events(rounds=2), capsys)
    assert lines[0] == "joint, 6 rounds; test loss before 1.600"
    equal = "equal bandwidth, nothing pruned: 20.0 s"
    assert lines[1:] == [
        f"round 1/6: test loss 0.800, simulated time 8.0 s (+8.0 s; {equal})",
        f"round 2/6: test loss 0.533, simulated time 16.0 s (+8.0 s; {equal})",
    ]


def test_rounds_that_do_not_wait_are_not_set_against_rounds_that_do(make_events, capsys):
    start, *rest = make_events(rounds=1)
    lines = told([start | {"method": "fedbuff"}, *rest], capsys)
    assert lines[1:] == ["round 1/6: test loss 0.800, simulated time 8.0 s (+8.0 s)"]


def test_rounds_say_whom_they_waited_for_in_vain(faulty, capsys):
    lines = told(faulty, capsys)
    assert lines[2:4] == [
        "round 2/6: test loss 0.533, simulated time 16.0 s (+8.0 s)",
        "  went on without phone-1 (upload), jetson (outage)",
    ]
    assert len(lines) == 5


@pytest.mark.parametrize("progress", [lambda: RunProgress(load_scenario(TINY)), CompareProgress])
def test_what_never_begins_says_nothing(progress, capsys):
    with pytest.raises(KeyboardInterrupt), progress():
        raise KeyboardInterrupt
    assert capsys.readouterr().out == ""
