"""What nodes report of their devices: planned with if it can be, refused by name if not."""

import json
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from stopping import Stop

from airtune import AirtuneError, run
from airtune.federation import in_process
from airtune.federation.client_app import app as client_app
from airtune.federation.report import Report, ReportedDevice
from airtune.federation.warm_node import WARM
from airtune.results.events import read_events

DEVICE = {"name": "jetson", "throughput": 5e9, "memory": 4e9, "overhead": 6.5}
PROFILE = "name: jetson\nthroughput: 5 GFLOP/s\nmemory: 4 GB\noverhead: 6.5 s\nmeasured: {steps: []}\n"


def context(**config: object) -> Context:
    return Context(1, 1, {"partition-id": 2, **config}, RecordDict(), {})


def test_a_node_reports_the_profile_that_it_is_given(tmp_path):
    (tmp_path / "device.yaml").write_text(PROFILE)
    report = Report.of_node(context(profile=str(tmp_path / "device.yaml")))
    assert report == Report(2, ReportedDevice(**DEVICE))
    assert Report.from_content(report.to_content()) == report
    assert Report.from_content(Report.of_node(context()).to_content()) == Report(2)
    (tmp_path / "device.yaml").write_text(PROFILE.replace("overhead: 6.5 s\n", ""))
    report = Report.of_node(context(profile=str(tmp_path / "device.yaml")))
    assert report == Report(2, ReportedDevice(**DEVICE | {"overhead": None}))
    assert Report.from_content(report.to_content()) == report


def test_a_node_that_has_loaded_everything_has_no_time_to_start(tmp_path, monkeypatch):
    (tmp_path / "device.yaml").write_text(PROFILE)
    monkeypatch.setenv(WARM, "1")
    report = Report.of_node(context(profile=str(tmp_path / "device.yaml")))
    assert report == Report(2, ReportedDevice(**DEVICE | {"overhead": None}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "No such file"),
        ("name: [", "YAML"),
        (PROFILE.replace("5 GFLOP/s", "1e30"), "throughput: found 1e\\+30, expected at most"),
        (
            PROFILE.replace("6.5 s", "1e7"),
            "overhead: found 1e\\+07, expected at most|overhead: found 10000000.0",
        ),
        (PROFILE.replace("4 GB", "1 B"), "memory: found 1.0, expected at least"),
    ],
)
def test_a_node_says_what_is_wrong_with_its_profile(text, expected, tmp_path):
    if text is not None:
        (tmp_path / "device.yaml").write_text(text)
    report = Report.of_node(context(profile=str(tmp_path / "device.yaml")))
    assert report.device is None
    with pytest.raises(AirtuneError, match=expected):
        raise AirtuneError(report.refused)
    assert Report.from_content(report.to_content()).client == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"throughput": float("nan")},
        {"throughput": float("inf")},
        {"throughput": -5e9},
        {"throughput": "5 GFLOP/s"},
        {"throughput": [5e9]},
        {"memory": 1e300},
        {"memory": 1e19},
        {"power": 0.0},
        {"overhead": -1.0},
        {"overhead": float("inf")},
        {"overhead": True},
        {"name": "x" * 10**6},
        {"name": "\x1b[2J"},
        {"name": b"jetson"},
        {"more": 1},
    ],
)
def test_what_cannot_be_is_refused_whatever_a_node_sends(wrong):
    record = ConfigRecord({"partition-id": 2})
    report = Report.from_content(RecordDict({"profile": record, "device": ConfigRecord(DEVICE | wrong)}))
    assert (report.client, report.device) == (2, None)
    assert len(report.refused) < 300
    assert report.refused.isprintable()
    nothing = RecordDict({"profile": record, "device": MetricRecord({"throughput": 5e9})})
    assert Report.from_content(nothing) == Report(2)


class Reporting:
    """The clients' app on nodes of which some name a profile."""

    def __init__(self, profiles: dict[int, Path]) -> None:
        self.profiles = profiles

    def __call__(self, message: Message, context: Context) -> Message:
        profile = self.profiles.get(int(context.node_config["partition-id"]))
        if profile is not None:
            context.node_config["profile"] = str(profile)
        return client_app(message, context)


def test_a_run_plans_with_what_was_reported_to_its_end(tiny, finished, tmp_path, monkeypatch):
    profile = tmp_path / "jetson.yaml"
    profile.write_text(PROFILE)
    app = Reporting({0: profile, 1: tmp_path / "gone.yaml"})
    monkeypatch.setattr(in_process, "client_app", app)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, tmp_path / "run", observer=Stop(1))
    monkeypatch.setattr(in_process, "client_app", client_app)
    run(tiny, tmp_path / "run", resume=True)
    events = read_events(tmp_path / "run" / "events.jsonl")
    first, second, third, _ = events[0]["clients"]
    assert first["device"] == "jetson"
    assert first["reported"] == {"throughput": 5e9, "memory": 4e9, "overhead": 6.5}
    assert [client["overhead_s"] for client in events[0]["clients"]] == [6.5, 0, 0, 0]
    for event in events:
        if event["event"] == "round":
            (row,) = (row for row in event["clients"] if row["id"] == first["id"])
            assert row["overhead_s"] == 6.5
    assert [second["device"], third["device"]] == ["sensor", "gateway"]
    assert "gone.yaml" in second["refused"]
    assert "reported" not in second
    plans = [
        json.loads((folder / "plans" / f"round-{number:03d}.json").read_text())["clients"]
        for folder in (tmp_path / "run", finished)
        for number in (1, 3)
    ]
    ready = [one[0]["round_s"] - one[0]["uplink_s"] for one in plans]  # to upload
    assert 6.5 < ready[0] < 6.5 + ready[2] / 2
    assert 6.5 < ready[1] < 6.5 + ready[3] / 2
