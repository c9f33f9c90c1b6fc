"""Whole comparisons of the tiny scenario, in real worker processes."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from airtune import AirtuneError, InputError, Scenario, compare, load_scenario, run
from airtune.comparing.folder import CompareFolder
from airtune.comparison_file import checked_settings
from airtune.federation.folder import RunFolder
from airtune.files import LOCK
from airtune.observer import CompareObserver
from airtune.results.events import read_events
from airtune.scenario import Payload

TINY = Path(__file__).parents[2] / "examples" / "tiny.yaml"
METHODS = ["joint", "fedit", "bandwidth-only"]


@pytest.fixture(scope="module")
def tiny() -> Scenario:
    return load_scenario(TINY, rounds=2)


@pytest.fixture(scope="module")
def compared(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("compared") / "out"
    compare(tiny, folder, METHODS)
    return folder


class Listener(CompareObserver):
    def __init__(self) -> None:
        self.ended: dict[str, str | None] = {}
        self.rounds = [0]

    def on_progress(self, rounds, running) -> None:
        self.rounds.append(rounds)

    def on_end(self, job, reason) -> None:
        self.ended[job] = reason


def rounds_of(folder: Path) -> list[dict]:
    return [
        {key: value for key, value in event.items() if key != "elapsed_s"}
        for event in read_events(folder / "events.jsonl")
        if event["event"] in ("start", "round")
    ]


def test_the_folder_has_its_stable_names(compared):
    names = {path.name for path in compared.iterdir() if not path.name.startswith(".")}
    assert names == {
        "compare.json",
        "scenario.yaml",
        "learnt",
        "report.html",
        "runs",
        "table.csv",
        "table.tex",
    }
    assert {path.name for path in (compared / "runs").iterdir()} == {
        *("joint-depth-0", "fedit-depth-0", "bandwidth-only-depth-0")
    }
    settings = json.loads((compared / "compare.json").read_text())
    assert settings == {
        "schema": "airtune-compare/1",
        "methods": METHODS,
        "reductions": ["depth"],
        "bandwidth": ["own"],
        "seeds": [0],
        "target_loss": "auto",
        "budget": None,
    }


def test_each_run_is_the_one_that_would_be_played_alone(compared, tiny, tmp_path):
    for method in METHODS:
        alone = run(tiny.model_copy(update={"method": method}), tmp_path / method)
        played = compared / "runs" / f"{method}-depth-0"
        assert rounds_of(played) == rounds_of(alone)
        adapter = "adapter/adapter_model.safetensors"
        assert (played / adapter).read_bytes() == (alone / adapter).read_bytes()


def test_what_is_shared_was_learnt_once_and_only_facts_stay(compared):
    names = [path.name for path in (compared / "learnt").iterdir()]
    # The initial adapter, two rounds of joint, and two that fedit and bandwidth-only share.
    assert sum(name.endswith(".facts.safetensors") for name in names) == len(names) == 5


def test_a_comparison_that_has_ended_is_not_played_again(compared, tiny):
    before = {path: path.stat().st_mtime_ns for path in (compared / "runs").rglob("*")}
    listener = Listener()
    found = compare(tiny, compared, METHODS, observer=listener)
    assert listener.ended == {}
    assert found.missing == ()
    assert {path: path.stat().st_mtime_ns for path in (compared / "runs").rglob("*")} == before


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"methods": ["joint"]},
            "compare.json: methods: found joint, fedit, bandwidth-only, expected joint, as asked for now",
        ),
        ({"seeds": 2}, "compare.json: seeds: found 0, expected 0, 1, as asked for now"),
        ({"target_loss": 5.0}, "compare.json: target_loss: found 'auto', expected 5.0, as asked for now"),
        (
            {"bandwidth": ["optimal"]},
            "compare.json: bandwidth: found own, expected optimal, as asked for now",
        ),
        ({"budget": 5.0}, "compare.json: budget: found nothing, expected 5.0 s, as asked for now"),
    ],
)
def test_other_arguments_are_refused(changes, expected, compared, tiny):
    with pytest.raises(InputError, match=expected):
        compare(tiny, compared, **({"methods": METHODS} | changes))


def test_another_scenario_is_refused(compared, tiny):
    other = tiny.model_copy(update={"rounds": 3})
    with pytest.raises(InputError, match=r"scenario.yaml: rounds: found another value"):
        compare(other, compared, METHODS)


def test_a_folder_with_something_else_is_refused(tiny, tmp_path):
    (tmp_path / "letter.txt").touch()
    with pytest.raises(AirtuneError, match="not empty, and no comparison"):
        compare(tiny, tmp_path, METHODS)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_job_that_fails_is_named_and_the_others_go_on(tiny, tmp_path):
    out, methods = tmp_path / "out", ["fedit", "joint"]
    fields = {"methods": methods, "reductions": ["depth"], "seeds": [0]}
    CompareFolder(out).prepare(tiny, checked_settings(fields, "compare"))
    letter = out / "runs" / "fedit-depth-0" / "letter.txt"
    letter.parent.mkdir(parents=True)
    letter.touch()
    command = [sys.executable, "-m", "airtune.cli", "compare", str(TINY), "--rounds", "2"]
    command += ["--methods", ",".join(methods), "--out", str(out), "--workers", "2"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"fedit-depth-0: failed: {letter.parent}: not empty; and no run to go on with" in ended.stdout
    assert "joint-depth-0: done" in ended.stdout
    assert "not there: fedit-depth-0" in ended.stdout
    assert (out / "table.csv").read_text().count("\n") == 2
    letter.unlink()
    listener = Listener()
    assert compare(tiny, out, methods, observer=listener).missing == ()
    assert listener.ended == {"fedit-depth-0": None}
    assert listener.rounds[-1] == 2
    assert listener.rounds == sorted(listener.rounds)
    assert not (out / "logs").exists()


def test_no_run_at_all_is_an_error(tiny, tmp_path):
    broken = tiny.model_copy(update={"task": tiny.task.model_copy(update={"data": str(tmp_path / "no")})})
    with pytest.raises(AirtuneError, match=r"no run has ended; fedit-depth-0: .*no: "):
        compare(broken, tmp_path / "out", ["fedit"])
    assert list(tmp_path.iterdir()) == []


def begun(tiny: Scenario, out: Path) -> Path:
    """A comparison's folder in which a worker was killed as its run began; returns the run's folder."""
    folder = CompareFolder(out)
    folder.prepare(tiny, checked_settings({"methods": ["fedit"], "reductions": ["depth"], "seeds": [0]}, ""))
    run = out / "runs" / "fedit-depth-0"
    RunFolder(run).prepare(tiny, resume=False)
    return run


def test_runs_without_a_checkpoint_are_taken_back(tiny, tmp_path):
    begun(tiny, tmp_path / "out")
    CompareFolder(tmp_path / "out").forget()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["checkpoint.safetensors", "letter.txt"])
def test_checkpoints_and_what_others_put_there_stay(file, tiny, tmp_path):
    kept = begun(tiny, tmp_path) / file
    kept.touch()
    CompareFolder(tmp_path).forget()
    assert kept.exists()
    assert (tmp_path / "compare.json").exists()


def test_a_folder_of_learnt_rounds_that_cannot_be_is_named(tiny, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: found File exists, expected a folder to write to"):
        compare(tiny, tmp_path / "out", ["fedit"], learnt=tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_budget_ends_runs_with_the_round_that_reaches_it(tiny, tmp_path, compared):
    first, second = rounds_of(compared / "runs" / "fedit-depth-0")[1:]
    budget = first["bytes_up"] + first["bytes_down"] + 1
    longer = tiny.model_copy(update={"rounds": 9})
    learnt = shutil.copytree(compared / "learnt", tmp_path / "learnt")
    (run,) = compare(longer, tmp_path / "out", ["fedit"], budget=f"{budget} B", learnt=learnt).runs
    assert rounds_of(tmp_path / "out" / "runs" / "fedit-depth-0")[1:] == [first, second]
    assert run.history.finished


def test_energy_is_no_budget_where_nobody_knows_it(tiny, tmp_path):
    groups = [group.model_dump() for group in tiny.clients]
    groups[1]["device"]["power"] = None
    unknown = Scenario.model_validate(tiny.model_dump() | {"clients": groups})
    expected = "scenario: clients.1.power: found nothing, so that nobody knows the energy of fast"
    with pytest.raises(InputError, match=expected):
        compare(unknown, tmp_path / "out", ["fedit"], budget="20 J")
    with pytest.raises(InputError, match=expected):
        run(unknown, tmp_path / "out", budget="20 J")
    assert list(tmp_path.iterdir()) == []


def test_other_links_are_clocked_from_what_was_learnt(tiny, compared, tmp_path):
    """Only facts are left of it, so there is no adapter; a plan that differs would learn it again."""
    slow = tiny.model_copy(update={"cells": (tiny.cells[0].model_copy(update={"bandwidth": 50e3}),)})
    kept = shutil.copytree(compared / "learnt", tmp_path / "learnt")
    before = {path.name for path in kept.iterdir()}
    (run,) = compare(slow, tmp_path / "out", ["fedit"], learnt=kept).runs
    assert not (tmp_path / "out" / "runs" / "fedit-depth-0" / "adapter").exists()
    facts = {path.name for path in kept.iterdir()}
    assert facts == before
    fast = rounds_of(compared / "runs" / "fedit-depth-0")
    assert [event["loss"] for event in run.history.rounds] == [event["loss"] for event in fast[1:]]
    assert run.history.rounds[-1]["clock_s"] > fast[-1]["clock_s"]


@pytest.mark.parametrize(
    "others", [["uniform"], pytest.param(["uniform", "fedit", "heterofl"], marks=pytest.mark.slow)]
)
def test_optimal_bandwidth_is_clocked_from_what_was_learnt(others, tiny, tmp_path):
    """Who takes part and what is trained stays, so nothing is learnt that its own shares have not learnt."""
    methods = [*others, "joint"]
    # With less to send or faster links, uniform would train what joint does, or fedit.
    exact = Payload(format="float32", download="float32")
    weak = tiny.cells[0].model_copy(update={"bandwidth": 50e3})
    tiny = tiny.model_copy(update={"payload": exact, "cells": (weak,)})
    found = compare(tiny, tmp_path / "out", methods, bandwidth=["own", "optimal"])
    facts = list((tmp_path / "out" / "learnt").glob("*.facts.safetensors"))
    assert len(facts) == 1 + tiny.rounds * len(methods)
    runs = {run.job.name: run.history for run in found.runs}
    assert [name for name in runs if name.startswith("joint")] == ["joint-depth-0"]
    for method in others:
        own, optimal = runs[f"{method}-depth-0"], runs[f"{method}-depth-optimal-0"]
        assert (optimal.per_round("loss") == own.per_round("loss")).all()
        assert (optimal.per_round("bytes_up") == own.per_round("bytes_up")).all()
        assert (optimal.per_round("planned_s") < own.per_round("planned_s")).all()
        assert optimal.summary["simulated_s"] < own.summary["simulated_s"]
    header, *rows = (tmp_path / "out" / "table.csv").read_text().splitlines()
    assert header.split(",")[:3] == ["method", "reduction", "bandwidth"]
    assert [row.split(",")[2] for row in rows] == ["own", "optimal"] * len(others) + ["own"]
    labels = [entry.label for entry in found.entries]
    assert labels[:2] == ["uniform (depth)", "uniform (depth, optimal bandwidth)"]
    assert ("fedit (optimal bandwidth)" in labels) == ("fedit" in others)


def test_two_processes_cannot_compare_in_one_folder(tiny, compared):
    with (
        CompareFolder(compared).lock(),
        pytest.raises(AirtuneError, match="another process is comparing here"),
    ):
        compare(tiny, compared, METHODS)


def test_a_lock_that_cannot_be_opened_is_named(tiny, compared, tmp_path):
    copy = shutil.copytree(compared, tmp_path / "copy")
    (copy / LOCK).unlink()
    (copy / LOCK).mkdir()
    with pytest.raises(InputError, match=rf"copy/{LOCK}: found .*, expected a file to write to"):
        compare(tiny, copy, METHODS)


def children(parent: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(parent.pid).children(recursive=True)


@pytest.mark.parametrize("end", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)])
def test_workers_end_with_their_parent_and_go_on_with_the_next(end, compared, tiny, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "airtune.cli", "compare", str(TINY), "--rounds", "2"]
    command += ["--methods", ",".join(METHODS), "--out", str(out), "--workers", "2"]
    # Shells have jobs in the background ignore SIGINT, and so would all that these start.
    default = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    parent = subprocess.Popen(command, preexec_fn=default, **pipes)
    while not list(out.glob("runs/*/checkpoint.safetensors")):
        assert parent.poll() is None
        time.sleep(0.05)
    workers = children(parent)
    assert workers
    os.kill(parent.pid, end)
    _, error = parent.communicate(timeout=60)
    if end == signal.SIGINT:
        assert (parent.returncode, error) == (130, "airtune: interrupted\n")
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert gone
    assert not alive
    compare(tiny, out, METHODS)
    for method in METHODS:
        name = f"runs/{method}-depth-0"
        assert rounds_of(out / name) == rounds_of(compared / name)
