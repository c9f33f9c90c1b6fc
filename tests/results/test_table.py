import subprocess
import sys

import pytest
from rich.console import Console

from airtune.errors import InputError
from airtune.results.table import summary_table


def shown(table) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_the_table_tells_the_run(make_events):
    text = shown(summary_table(make_events()))
    for part in (
        "quickstart · joint",
        "4 of 4",
        "1.600 → 0.320",
        "32 s",
        "1 min 20 s",
        "2.50×",
        "11 kB",
        "33 kB",
    ):
        assert part in text
    assert "22 TFLOP" in text
    assert "40 s" in text


def test_rounds_that_do_not_wait_are_not_set_against_rounds_that_do(make_events):
    start, *rest = make_events()
    text = shown(summary_table([start | {"method": "fedbuff"}, *rest]))
    assert "simulated time" in text
    assert "equal bandwidth" not in text
    assert "×" not in text


def test_updates_that_did_not_come_are_counted(make_events, faulty):
    (line,) = [line for line in shown(summary_table(faulty)).splitlines() if "did not come" in line]
    assert line.replace("│", "").split() == ["updates", "that", "did", "not", "come", "2"]
    assert "did not come" not in shown(summary_table(make_events()))


def test_where_a_client_failed_nothing_is_compared_with_equal_bandwidth(make_events):
    start, *rest = make_events()
    failed = [{"id": "phone-1", "why": "failure", "reason": "ran out of memory"}]
    rounds = [event | {"lost": failed} if event["event"] == "round" else event for event in rest]
    assert "speed-up" in shown(summary_table([start, *rest]))
    assert "speed-up" not in shown(summary_table([start, *rounds]))


def test_a_run_that_has_just_begun(make_events):
    text = shown(summary_table(make_events(rounds=0, ended=False)))
    assert "0 of 1" in text
    assert "×" not in text


def test_names_are_no_markup(make_events):
    start, *rest = make_events()
    assert "[red]x[/red]" in shown(summary_table([start | {"scenario": "[red]x[/red]"}, *rest]))


def test_no_start_event():
    with pytest.raises(InputError, match="no start event"):
        summary_table([])


def test_importing_it_loads_neither_rich_nor_what_the_planner_must_not_need():
    heavy = "{'rich', 'plotly', 'torch', 'transformers', 'flwr'}"
    code = f"import sys, airtune.results.table; print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
