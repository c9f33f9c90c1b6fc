"""The trace against Chrome's Trace Event Format and against the run it tells of."""

import itertools
import json
from collections import defaultdict

import pytest
from compared import begin
from compared import write_run as write_compared

from airtune import InputError
from airtune.results.events import append_events
from airtune.results.history import History
from airtune.results.trace import write_trace

FIELDS = {
    "M": {"ph": str, "name": str, "pid": int, "tid": int, "args": dict},
    "X": {
        **{"ph": str, "name": str, "cat": str, "pid": int, "tid": int},
        **{"ts": (int, float), "dur": (int, float), "args": dict},
    },
    "C": {"ph": str, "name": str, "pid": int, "tid": int, "ts": (int, float), "args": dict},
}


def read(path):
    """The events of a trace, its schema checked."""
    trace = json.loads(path.read_text(encoding="utf-8"))
    assert trace["displayTimeUnit"] in ("ms", "ns")
    events = trace["traceEvents"]
    for event in events:
        fields = FIELDS[event["ph"]]
        assert set(event) == set(fields)
        assert all(isinstance(event[field], kind) for field, kind in fields.items())
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0
        if event["ph"] == "C":
            assert all(isinstance(value, (int, float)) for value in event["args"].values())
    named = [event["pid"] for event in events if event["name"] == "process_name"]
    assert len(named) == len(set(named))
    assert set(named) == {event["pid"] for event in events}
    check_slices(events)
    return events


def check_slices(events):
    """On one thread no slice begins before the one before has ended."""
    threads = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for slices in threads.values():
        for before, after in itertools.pairwise(slices):
            assert before[1] <= after[0] + 1e-3


def processes(events):
    return {event["args"]["name"]: event["pid"] for event in events if event["name"] == "process_name"}


def slices(events, process):
    found = [event for event in events if event["ph"] == "X" and event["pid"] == process]
    return [(event["name"], event["ts"] / 1e6, event["dur"] / 1e6) for event in found]


@pytest.fixture
def run(tmp_path, make_events):
    append_events(tmp_path / "events.jsonl", make_events(rounds=3))
    return tmp_path


def test_a_client_is_a_process_that_downloads_computes_uploads_and_waits(run):
    path = write_trace(run)
    assert path == run / "trace.json"
    events = read(path)
    names = processes(events)
    assert list(names) == ["joint", "joint: phone-0", "joint: phone-1", "joint: jetson"]
    assert slices(events, names["joint: phone-1"])[4:8] == [
        ("download", 8, 0.5),
        ("compute", 8.5, 4),
        ("upload", 12.5, 3),
        ("waiting", 15.5, 0.5),
    ]
    assert slices(events, names["joint: phone-0"])[-1] == ("left out", 16, 8)
    assert slices(events, names["joint"]) == [(f"round {n}", 8 * n - 8, 8) for n in (1, 2, 3)]


def test_an_overhead_lies_between_download_and_computing(tmp_path, make_events):
    events = make_events(rounds=1, ended=False)
    events[1]["clients"][1] |= {"overhead_s": 1.5, "compute_s": 2.5}
    append_events(tmp_path / "events.jsonl", events)
    events = read(write_trace(tmp_path))
    assert slices(events, processes(events)["joint: phone-1"])[:3] == [
        ("download", 0, 0.5),
        ("overhead", 0.5, 1.5),
        ("compute", 2, 2.5),
    ]


def test_updates_that_are_lost_have_their_reason(tmp_path, faulty):
    append_events(tmp_path / "events.jsonl", faulty)
    events = read(write_trace(tmp_path))
    names = processes(events)
    for client, reason in (("phone-1", "upload"), ("jetson", "outage")):
        found = slices(events, names[f"joint: {client}"])
        assert found[4] == (f"lost: {reason}", 8, 8)
        assert len(found) == 9  # four phases in the rounds before and after
    (lost,) = [event for event in events if event["name"] == "lost: upload"]
    assert (lost["args"]["bytes_up"], lost["args"]["compute_j"]) == (1000, 40.0)


def test_counters_tell_loss_and_bandwidth(run):
    events = read(write_trace(run))
    names = processes(events)
    counters = [event for event in events if event["ph"] == "C"]
    loss = [(one["ts"] / 1e6, one["args"]["value"]) for one in counters if one["pid"] == names["joint"]]
    assert loss == [(0, 1.6), (8, 0.8), (16, 1.6 / 3), (24, 0.4)]
    bandwidth = [one["args"]["value"] for one in counters if one["pid"] == names["joint: phone-0"]]
    assert bandwidth == [1.5e6, 1.5e6, 0]


def test_trainings_that_outlast_rounds_follow_each_other_to_the_end_of_the_run(buffered):
    events, history = read(write_trace(buffered)), History.read(buffered)
    end = history.rounds[-1]["clock_s"]
    rows = [row for event in history.rounds for row in event["clients"]]
    begun = {(row["id"], row["begun_s"]) for row in rows}
    begun |= {(flight["row"]["id"], flight["row"]["begun_s"]) for flight in history.rounds[-1]["flights"]}
    assert any(
        event["round"] > 1 and row["begun_s"] == 0 for event in history.rounds for row in event["clients"]
    )
    for client in history.clients:
        own = slices(events, processes(events)[f"fedbuff: {client}"])
        found = [begin for name, begin, _ in own if name == "download"]
        assert found == pytest.approx(sorted(at for name, at in begun if name == client))
        assert "left out" not in {name for name, _, _ in own}
        assert sum(seconds for _, _, seconds in own) == pytest.approx(end)
        assert max(begin + seconds for _, begin, seconds in own) == pytest.approx(end)


def test_a_comparison_has_every_run(tmp_path):
    runs = begin(tmp_path, ["joint", "fedit"], seeds=2)
    for method, seed in itertools.product(("joint", "fedit"), (0, 1)):
        write_compared(runs / f"{method}-examples-{seed}", [4.0, 3.0, 2.0], 10.0)
    out = tmp_path / "all.json"
    assert write_trace(tmp_path, out) == out
    names = processes(read(out))
    folders = [f"{method}-examples-{seed}" for seed in (0, 1) for method in ("joint", "fedit")]
    assert sorted(names) == sorted([*folders, *(f"{folder}: one" for folder in folders)])
    assert sorted(names.values()) == list(range(1, 9))


def test_what_is_missing_is_named(tmp_path, run):
    with pytest.raises(InputError, match="no such folder"):
        write_trace(tmp_path / "missing")
    with pytest.raises(InputError, match="expected a file to write to"):
        write_trace(run, run / "missing" / "trace.json")
