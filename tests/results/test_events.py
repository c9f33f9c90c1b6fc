import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airtune.errors import InputError
from airtune.results.events import append_events, read_events, round_events, start_event, summarise


def write_lines(path: Path, events) -> None:
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")


def test_what_is_appended_is_read_back(tmp_path, make_events):
    events = make_events()
    path = tmp_path / "events.jsonl"
    append_events(path, events[:2])
    append_events(path, events[2:])
    assert read_events(path) == events
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(events)


def test_whole_lines_have_reached_the_file_when_it_is_synced(tmp_path, make_events, monkeypatch):
    path, seen = tmp_path / "events.jsonl", []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(path.read_bytes()), sync(descriptor)))
    append_events(path, make_events(rounds=2))
    assert seen == [path.read_bytes()]
    assert seen[0].endswith(b"\n")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(data=st.data())
def test_a_file_cut_anywhere_loses_only_the_torn_line_and_goes_on(tmp_path, make_events, data):
    path, events = tmp_path / "events.jsonl", make_events(clients=["téléphone"], rounds=2)
    path.unlink(missing_ok=True)
    append_events(path, events)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    assert read_events(path) == events[:kept]
    append_events(path, events[kept:])
    assert path.read_bytes() == whole


def test_appending_leaves_earlier_lines_alone(tmp_path, make_events):
    path = tmp_path / "events.jsonl"
    append_events(path, make_events(ended=False))
    before = path.read_bytes()
    append_events(path, [{"event": "resume", "round": 5}])
    assert path.read_bytes().startswith(before)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_none_is_not_written(tmp_path, make_events, value):
    path = tmp_path / "events.jsonl"
    append_events(path, make_events(ended=False))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        append_events(path, [make_events()[0] | {"loss": value}])
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"event": "round", "rou', "JSON object"),
        (b"\xff\xfe", "JSON object"),
        (b"\x00\x00", "JSON object"),
        (b"", "JSON object"),
        (b"[" * 100_000, "JSON object"),
        (b'{"event": "resume", "round": ' + b"9" * 5000 + b"}", "JSON object"),
        (b"[1]", "valid dictionary"),
        (b"{}", "event"),
        (b'{"event": "stop"}', "'start', 'round', 'resume', 'end'"),
        (b'{"event": "resume"}', "line 3: round: found nothing"),
        (b'{"event": "resume", "round": "2"}', "line 3: round: found '2', expected a whole number"),
        (b'{"event": "resume", "round": 0}', "line 3: round: found 0"),
        (b'{"event": "resume", "round": true}', "line 3: round: found true"),
    ],
)
def test_a_broken_line_in_the_middle_is_named(tmp_path, make_events, line, expected):
    path = tmp_path / "events.jsonl"
    write_lines(path, make_events(rounds=1, ended=False))
    with path.open("ab") as file:
        file.write(line + b'\n{"event": "resume", "round": 2}\n')
    with pytest.raises(InputError) as caught:
        read_events(path)
    assert str(caught.value).startswith(f"{path}: line 3")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("round_s", None),
        ("round_s", math.nan),
        ("loss", math.inf),
        ("fedit_s", -1),
        ("bytes_up", "7"),
        ("flops", 10**400),
    ],
)
def test_a_wrong_field_is_named(tmp_path, make_events, field, value):
    path, events = tmp_path / "events.jsonl", make_events()
    events[2] = events[2] | {field: value}
    write_lines(path, events)
    with pytest.raises(InputError, match=f"line 3: {field}: found"):
        read_events(path)


def test_a_wrong_field_of_a_client_is_named(tmp_path, make_events):
    path, events = tmp_path / "events.jsonl", make_events()
    events[1]["clients"][1]["prune"] = 1.5
    write_lines(path, events)
    with pytest.raises(InputError, match=r"line 2: clients\.1\.prune: found 1.5"):
        read_events(path)


@pytest.mark.parametrize("line", [0, 1])
def test_an_overhead_may_be_absent_and_is_no_less_than_none(tmp_path, make_events, line):
    path, events = tmp_path / "events.jsonl", make_events()
    for seconds in (0.0, 2.5):
        events[line]["clients"][1]["overhead_s"] = seconds
        write_lines(path, events)
        assert read_events(path) == events
    events[line]["clients"][1]["overhead_s"] = -2.5
    write_lines(path, events)
    with pytest.raises(InputError, match=rf"line {line + 1}: clients\.1\.overhead_s: found -2.5"):
        read_events(path)


def test_a_lost_update_is_checked(tmp_path, faulty):
    path = tmp_path / "events.jsonl"
    write_lines(path, faulty)
    assert read_events(path) == faulty
    assert faulty[-1]["lost_updates"] == 2
    for change, expected in (
        ({"why": "rain"}, r"line 3: lost\.0\.why: found 'rain'"),
        (
            {"id": "phone-0"},
            "line 3: clients: found 'phone-0', expected clients of the start event",
        ),
    ):
        broken = [*faulty[:2], faulty[2] | {"lost": [faulty[2]["lost"][0] | change]}]
        write_lines(path, broken)
        with pytest.raises(InputError, match=expected):
            read_events(path)


def test_fields_of_later_versions_are_kept(tmp_path, make_events):
    path, events = tmp_path / "events.jsonl", make_events()
    events[1]["weather"] = {"rain": [1]}
    write_lines(path, events)
    assert read_events(path) == events


def test_clients_of_rounds_are_known_and_come_once(tmp_path, make_events):
    path, events = tmp_path / "events.jsonl", make_events()
    events[1]["clients"][0]["id"] = "stranger"
    write_lines(path, events)
    with pytest.raises(InputError, match="line 2: clients: found 'stranger'"):
        read_events(path)
    events[1]["clients"][0]["id"] = events[1]["clients"][1]["id"]
    write_lines(path, events)
    with pytest.raises(InputError, match="each once"):
        read_events(path)


def test_the_lost_are_known_and_come_once(tmp_path, make_events):
    path, events = tmp_path / "events.jsonl", make_events()
    one = events[1]["clients"].pop()
    took = {"why": "failure", "reason": "out of memory", "bytes_up": 0, "bytes_down": 0, "flops": 0.0}
    for names, expected in ((["stranger"], "'stranger'"), ([one["id"]] * 2, repr(one["id"]))):
        events[1]["lost"] = [{"id": name, **took} for name in names]
        write_lines(path, events)
        with pytest.raises(
            InputError, match=f"line 2: clients: found {expected}, expected clients of the start"
        ):
            read_events(path)
    events[1]["lost"] = [{"id": one["id"], **took}]
    write_lines(path, events)
    assert read_events(path) == events


def test_the_start_event_comes_first_and_once(tmp_path, make_events):
    path, events = tmp_path / "events.jsonl", make_events()
    write_lines(path, events[1:])
    with pytest.raises(InputError, match="line 1: event: found 'round', expected start"):
        read_events(path)
    write_lines(path, [*events, events[0]])
    with pytest.raises(InputError, match="found 'start'"):
        read_events(path)


def test_a_missing_file_or_a_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_events(tmp_path / "events.jsonl")
    with pytest.raises(InputError, match="directory"):
        read_events(tmp_path)
    with pytest.raises(InputError, match="a file to append to"):
        append_events(tmp_path / "missing" / "events.jsonl", [])


def test_privacy_is_spent_by_every_client_and_on_the_terms_of_the_start(tmp_path, make_events):
    path, events = tmp_path / "events.jsonl", make_events()
    spent, count = {"answers": [1], "epsilon": [2.5]}, len(events[0]["clients"])
    first = next(event for event in events if event["event"] == "round")
    first["privacy"] = {name: values * count for name, values in spent.items()}
    write_lines(path, events)
    with pytest.raises(InputError, match="line 2: privacy: found a mapping, expected none, as the start has"):
        read_events(path)
    events[0]["privacy"] = {"clip": 1.0, "noise": 5.0, "delta": 1e-5, "most_epsilon": 4.0}
    write_lines(path, events)
    assert read_events(path) == events
    first["privacy"]["epsilon"].append(2.5)
    write_lines(path, events)
    with pytest.raises(
        InputError, match=rf"privacy.epsilon: found {count + 1} numbers, expected one for each"
    ):
        read_events(path)


def test_no_start_event_is_an_input_error():
    with pytest.raises(InputError, match="no start event"):
        start_event([])
    with pytest.raises(InputError, match="no start event"):
        summarise([{"event": "resume", "round": 1}])


def test_summary_adds_up_the_rounds(make_events):
    events = make_events(rounds=4)
    assert summarise(events) == {
        "loss_before": 1.6,
        "loss_after": 1.6 / 5,
        "simulated_s": 32.0,
        "fedit_s": 80.0,
        "elapsed_s": 40.0,
        "bytes_up": 1000 * 11,
        "bytes_down": 3000 * 11,
        "flops": 2e12 * 11,
        "lost_updates": 0,
        "rounds": 4,
        "method": "joint",
    }


def test_summary_before_the_first_round(make_events):
    summary = summarise(make_events(rounds=0, ended=False))
    assert (summary["rounds"], summary["simulated_s"], summary["elapsed_s"]) == (0, 0, 0)
    assert summary["loss_after"] == summary["loss_before"] == 1.6


def test_elapsed_time_counts_every_process_and_a_repeated_round_once_in_the_rest(make_events):
    start, one, two, three = make_events(rounds=3, ended=False)
    again = two | {"loss": 0.5, "elapsed_s": 7.0}
    events = [
        start,
        one | {"elapsed_s": 10.0},
        two | {"elapsed_s": 21.0},
        {"event": "resume", "round": 2},
        again,
        {"event": "resume", "round": 3},
        {"event": "resume", "round": 3},
        three | {"elapsed_s": 5.0},
    ]
    assert round_events(events)[1] == again
    summary = summarise(events)
    assert summary["elapsed_s"] == 21.0 + 7.0 + 5.0
    assert summary["rounds"] == 3
    assert summary["simulated_s"] == 24.0
