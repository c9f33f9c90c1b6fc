"""The command line: what it prints, its exit codes, and one line for every mistake."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airtune import Plan, __version__, load_scenario
from airtune.cli import main
from airtune.federation.folder import RunFolder

TINY = Path(__file__).parents[1] / "examples" / "tiny.yaml"


def client(name: str, **changes: object) -> dict:
    return {
        "id": name,
        "cell": "cell-0",
        "weight": 0.5,
        "snr_hz": 1e8,
        "fixed_s": 1.0,
        "compute_s": 20.0,
        "fixed_bits": 1e6,
        "payload_bits": 4e7,
        "prune_min": 0.0,
        "prune_max": 0.9,
    } | changes


def problem(*clients: dict) -> str:
    return json.dumps(
        {
            "schema": "airtune-problem/1",
            "cells": [{"id": "cell-0", "bandwidth_hz": 1e7}],
            "rounds": {"base": 20, "penalty": 0.8, "error": {"kind": "power", "exponent": 2}},
            "clients": clients or [client("slow", compute_s=80.0), client("fast")],
        }
    )


@pytest.fixture
def airtune(monkeypatch, capsys, tmp_path):
    """`airtune("plan", "problem.json")` in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["airtune", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def refused(airtune, tmp_path):
    """The one line of a mistake; nothing may be left behind by it."""

    def call(*arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        code, output, error = airtune(*arguments)
        assert code == 2
        assert output == ""
        assert error.startswith("airtune: ")
        assert error.endswith("\n")
        assert error[:-1].isprintable()
        assert "Traceback" not in error
        assert sorted(tmp_path.rglob("*")) == before
        return error

    return call


# -- Version, help, usage -----------------------------------------------------------------------------


def test_version(airtune):
    assert airtune("version") == (0, f"{__version__}\n", "")


def test_help_lists_the_commands(airtune):
    code, output, _ = airtune("--help")
    assert code == 0
    for command in ("init", "fetch", "plan", "run", "compare", "sweep", "report", "trace", "version"):
        assert command in output
        code, text, _ = airtune(command, "--help")
        assert code == 0
        assert "Usage: airtune " + command in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nothing"], "No such command"),
        (["--nothing"], "No such option"),
        (["plan"], "Missing argument"),
        (["plan", "a.json", "--nothing"], "No such option"),
        (["run", "a.yaml", "--rounds", "six"], "not a valid integer"),
        (["run", "a.yaml", "b.yaml"], "unexpected extra argument"),
    ],
)
def test_wrong_usage(arguments, expected, airtune, tmp_path):
    code, _, error = airtune(*arguments)
    assert code == 2
    assert expected in error
    assert list(tmp_path.iterdir()) == []


def test_no_arguments_show_help(airtune):
    code, output, _ = airtune()
    assert code == 2
    assert "Usage: airtune" in output


# -- init ---------------------------------------------------------------------------------------------


def test_init_writes_a_scenario_once(airtune, refused, tmp_path):
    code, output, _ = airtune("init")
    assert code == 0
    assert "airtune run scenario.yaml" in output
    text = (tmp_path / "scenario.yaml").read_text()
    assert load_scenario(tmp_path / "scenario.yaml").name == "scenario"
    assert "scenario.yaml: File exists" in refused("init")
    assert (tmp_path / "scenario.yaml").read_text() == text
    assert "no/such/folder.yaml" in refused("init", "no/such/folder.yaml")
    assert airtune("init", "other.yaml")[0] == 0


# -- plan ---------------------------------------------------------------------------------------------


def test_plan_prints_a_table(airtune, tmp_path):
    (tmp_path / "problem.json").write_text(problem())
    code, output, error = airtune("plan", "problem.json")
    assert (code, error) == (0, "")
    for text in ("client", "pruning rate", "slow", "fast", "MHz", "joint: ", "no plan needs less than"):
        assert text in output
    assert [path.name for path in tmp_path.iterdir()] == ["problem.json"]


def test_plan_of_a_small_cell_is_in_khz(airtune, tmp_path):
    small = json.loads(problem())
    small["cells"][0]["bandwidth_hz"] = 2e5
    (tmp_path / "problem.json").write_text(json.dumps(small))
    code, output, error = airtune("plan", "problem.json")
    assert (code, error) == (0, "")
    assert sum(" kHz " in line for line in output.splitlines()) == 2 + 1
    assert "one more kHz in cell-0 saves" in output
    assert "MHz" not in output


def test_plan_says_what_binds_and_what_would_help(airtune, tmp_path, monkeypatch):
    clients = [client(f"c{k}", weight=1 / 30, compute_s=float(k + 1)) for k in range(30)]
    (tmp_path / "problem.json").write_text(problem(*clients))
    monkeypatch.setenv("COLUMNS", "80")
    code, output, error = airtune("plan", "problem.json")
    assert (code, error) == (0, "")
    for text in ("bound by", "deadline", "twice as fast", " %)", "and 10 more clients", "one more MHz in"):
        assert text in output
    assert max(map(len, output.splitlines())) <= 80
    assert sum(line.startswith("c") and " kHz " in line for line in output.splitlines()) == 20
    plan = Plan.from_json(airtune("plan", "problem.json", "--json")[1])
    assert plan.binds is not None
    assert "deadline" in plan.binds[29]
    others = airtune("plan", "problem.json", "--method", "fedit")[1]
    assert "bound by" not in others


def test_plan_prints_and_writes_json(airtune, tmp_path):
    (tmp_path / "problem.json").write_text(problem())
    code, output, error = airtune("plan", "problem.json", "--json", "--out", "plan.json", "--method", "jcpba")
    assert (code, error) == (0, "")
    assert json.loads(output)["schema"] == "airtune-plan/1"
    assert (tmp_path / "plan.json").read_text() == output
    assert Plan.from_json(output).method == "jcpba"


def test_plan_in_resource_blocks(airtune, tmp_path):
    (tmp_path / "problem.json").write_text(problem())
    code, output, error = airtune("plan", "problem.json", "--resource-block-hz", "180000", "--json")
    assert (code, error) == (0, "")
    blocks = Plan.from_json(output).bandwidth_hz / 180e3
    assert blocks.tolist() == [round(number) for number in blocks]


def test_resource_blocks_that_cannot_be(refused, tmp_path):
    (tmp_path / "problem.json").write_text(problem())
    blocks = ("plan", "problem.json", "--resource-block-hz")
    assert "a resource block above 0 Hz" in refused(*blocks, "-1")
    assert "expected at most" in refused(*blocks, "0.1")
    assert "cell cell-0 has 1 resource blocks" in refused(*blocks, "6e6")
    assert "method joint" in refused(*blocks, "180000", "--method", "jcpba")


def test_plan_of_a_scenario(airtune):
    code, output, error = airtune("plan", TINY, "--json")
    assert (code, error) == (0, "")
    assert Plan.from_json(output).ids == ("slow-0", "slow-1", "fast-0", "fast-1")


def test_plan_names_those_who_are_left_out(airtune, tmp_path):
    (tmp_path / "problem.json").write_text(problem())
    code, output, _ = airtune("plan", "problem.json", "--method", "drop-slowest")
    assert code == 0
    assert "left out" in output


def test_plan_may_choose_whom_to_leave_out(airtune, refused, tmp_path):
    clients = [client("hopeless", compute_s=1e5, weight=0.1), client("fast", weight=0.9)]
    (tmp_path / "problem.json").write_text(problem(*clients))
    code, output, error = airtune("plan", "problem.json", "--allow-drop")
    assert (code, error) == (0, "")
    assert "left out" in output
    plan = Plan.from_json(airtune("plan", "problem.json", "--allow-drop", "--json")[1])
    assert plan.participates.tolist() == [False, True]
    assert plan.relative_gap <= 1e-6
    assert "left out" not in airtune("plan", "problem.json")[1]
    assert "--allow-drop: found method jcpba, expected joint" in refused(
        "plan", "problem.json", "--method", "jcpba", "--allow-drop"
    )


def test_plan_of_an_error_budget(airtune, refused, tmp_path):
    (tmp_path / "problem.json").write_text(problem())
    budget = ("plan", "problem.json", "--error-budget")
    code, output, error = airtune(*budget, "0.1")
    assert (code, error) == (0, "")
    assert "no round within the error budget is shorter than" in output
    plan = Plan.from_json(airtune(*budget, "0.1", "--json")[1])
    assert plan.round_lower_bound_s == pytest.approx(plan.round_s, rel=1e-6)
    assert "--error-budget: found -1.0, expected a number from 0" in refused(*budget, "-1")
    assert "--error-budget: found --allow-drop" in refused(*budget, "0.1", "--allow-drop")
    assert "--error-budget: found method jcpba" in refused(*budget, "0.1", "--method", "jcpba")


def test_plan_shows_any_id_as_it_is(airtune, tmp_path):
    (tmp_path / "problem.json").write_text(problem(client("[red]a[/red]"), client("[/b] ü 漢")))
    code, output, error = airtune("plan", "problem.json")
    assert (code, error) == (0, "")
    assert "[red]a[/red]" in output
    assert "[/b] ü 漢" in output


def test_plan_of_an_impossible_problem_names_the_client(refused, tmp_path):
    memory = {"budget_bytes": 1.0, "fixed_bytes": 2.0, "prunable_bytes": 1.0}
    (tmp_path / "problem.json").write_text(problem(client("roomy"), client("tight", memory=memory)))
    assert "airtune: infeasible: client tight: " in refused("plan", "problem.json", "--out", "plan.json")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("problem.json", None, "problem.json: found "),
        ("problem.json", "{", "problem.json: found "),
        ("problem.json", "{}", "problem.json: schema: found nothing"),
        ("problem.json", problem(client("a", weight="x"), client("b")), "clients.0.weight: found 'x'"),
        ("scenario.yaml", None, "scenario.yaml: found No such file or directory"),
        ("scenario.yaml", "a: [", "scenario.yaml: line 1, column 5: found"),
        ("scenario.yaml", "clients: []", "scenario.yaml: clients: found an empty list"),
        ("scenario.yaml", "? - a\n- b", "scenario.yaml: line"),
    ],
)
def test_plan_of_a_wrong_file(name, text, expected, refused, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert expected in refused("plan", name, "--out", "plan.json")


def test_plan_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "problem.json").write_text(problem())
    assert "no/plan.json: found No such file" in refused("plan", "problem.json", "--out", "no/plan.json")
    assert "--method: found 'best', expected one of joint" in refused(
        "plan", "problem.json", "--method", "best"
    )


# -- run and report -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A finished run of the tiny scenario, one round."""
    from airtune.api import run

    return run(load_scenario(TINY, rounds=1), tmp_path_factory.mktemp("cli") / "run")


def test_run_tells_how_it_goes_and_where_the_results_are(airtune, tmp_path):
    code, output, error = airtune("run", TINY, "--rounds", 1, "--method", "fedit", "--out", "results")
    assert (code, error) == (0, "")
    for text in ("fedit, 1 rounds; test loss before", "round 1/1: test loss", "test loss", "bytes up"):
        assert text in output
    assert "adapter: results/adapter" in output
    assert "report:  results/report.html" in output
    summary = json.loads((tmp_path / "results" / "summary.json").read_text())
    assert (summary["method"], summary["rounds"]) == ("fedit", 1)


def test_run_finds_a_new_folder_each_time(airtune, tmp_path):
    for _ in range(2):
        assert airtune("run", TINY, "--rounds", 1)[0] == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["tiny-joint", "tiny-joint-2"]


def test_a_folder_s_name_is_no_markup(airtune):
    code, output, _ = airtune("run", TINY, "--rounds", 1, "--out", "[bold]x[/nothing]")
    assert code == 0
    assert "adapter: [bold]x[/nothing]/adapter" in output


def test_a_finished_run_says_so(airtune, folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, output, _ = airtune("run", TINY, "--rounds", 1, "--out", folder, "--resume")
    assert code == 0
    assert "this run has already finished" in output
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_runs_that_cannot_begin(refused, tmp_path, folder):
    for command in (["run", TINY], ["compare", TINY, "--methods", "fedit"]):
        error = refused(*command, "--out", "results", "--log", "wandb")
        assert error == "airtune: --log: found 'wandb', expected tensorboard or mlflow\n"
    assert "missing.yaml: found No such file" in refused("run", "missing.yaml")
    assert "task.name: found 'chess'" in refused("run", TINY, "--task", "chess", "--out", "results")
    assert "rounds: found 0, expected at least 1" in refused("run", TINY, "--rounds", 0, "--out", "results")
    expected = "bandwidth: found 'equal', expected 'own' or 'optimal'"
    assert expected in refused("run", TINY, "--bandwidth", "equal", "--out", "results")
    assert "method: found 'best'" in refused("run", TINY, "--method", "best", "--out", "results")
    assert "/missing: found nothing" in refused("run", TINY, "--data", "missing", "--out", "results")
    assert "--resume: found no --out" in refused("run", TINY, "--resume")
    assert "not empty; go on with --resume" in refused("run", TINY, "--out", folder)
    assert "rounds: found another value" in refused("run", TINY, "--out", folder, "--resume")
    (tmp_path / "file").touch()
    assert "expected a folder to write to" in refused("run", TINY, "--out", "file")
    with RunFolder(folder).lock():
        error = refused("run", TINY, "--rounds", 1, "--out", folder, "--resume")
    assert "another process is running here" in error


@pytest.mark.parametrize(
    ("engine", "deadline", "expected"),
    [
        ("in-process", "90", "none where clients train one after the other"),
        ("flower-deployment", "0", "seconds above 0, at most 1e+09"),
    ],
)
def test_a_deadline_that_is_none_is_refused(engine, deadline, expected, refused):
    error = refused("run", str(TINY), "--engine", engine, "--deadline", deadline)
    assert error == f"airtune: --deadline: found {float(deadline)}, expected {expected}\n"


def test_unusable_data_and_models(refused, tmp_path):
    (tmp_path / "data.jsonl").write_text('{"prompt": "a"}\n')
    assert "data.jsonl: line 1, response: found nothing" in refused(
        "run", TINY, "--data", "data.jsonl", "--out", "results"
    )
    (tmp_path / "model").mkdir()
    scenario = TINY.read_text().replace("{name: tiny}", "{name: ./model}")
    (tmp_path / "tiny.yaml").write_text(scenario)
    shutil.copy(TINY.with_name("tiny.jsonl"), tmp_path)
    assert "model.name: found " in refused("run", "tiny.yaml", "--out", "results")


def test_a_testbed_s_mistaken_options_are_refused(refused):
    expected = "found 0.0, expected seconds above 0, at most 1e+09"
    assert refused("testbed", str(TINY), "--deadline", 0) == f"airtune: --deadline: {expected}\n"
    assert "--resume: found no --out" in refused("testbed", str(TINY), "--resume")


def test_ctrl_c_ends_with_a_line_and_can_be_resumed(airtune, monkeypatch, tmp_path):
    from airtune.results.terminal import RunProgress

    def interrupt(self, event):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunProgress, "on_round", interrupt)
        code, _, error = airtune("run", TINY, "--rounds", 2, "--out", "results")
    assert code == 130
    assert error.strip() == "airtune: interrupted"
    assert not (tmp_path / "results" / "summary.json").exists()
    code, output, _ = airtune("run", TINY, "--rounds", 2, "--out", "results", "--resume")
    assert code == 0
    assert "2 of 2" in output
    assert "round 1/2: test loss" not in output


def test_report_of_a_run(airtune, folder):
    code, output, error = airtune("report", folder)
    assert (code, error) == (0, "")
    assert output.strip() == str(folder / "report.html")


def test_report_with_figures(airtune, refused, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "PDF figures need matplotlib: pip install 'airtune[pdf]'" in refused("report", folder, "--pdf")
    monkeypatch.undo()
    pytest.importorskip("matplotlib")
    assert airtune("report", folder, "--pdf")[0] == 0
    assert (folder / "figures" / "loss.pdf").exists()


def test_trace_of_a_run(airtune, refused, folder, tmp_path):
    code, output, error = airtune("trace", folder, "--out", "timelines.json")
    assert (code, output.strip(), error) == (0, "timelines.json", "")
    assert (tmp_path / "timelines.json").read_text().startswith('{"displayTimeUnit"')
    assert "missing: found no such folder, expected the folder of a run or comparison" in refused(
        "trace", "missing"
    )


def test_report_of_no_run(refused, tmp_path):
    assert "missing: found no such folder, expected the folder of a run or comparison" in refused(
        "report", "missing"
    )
    (tmp_path / "empty").mkdir()
    assert "events.jsonl: found No such file" in refused("report", "empty")


# -- compare ------------------------------------------------------------------------------------------


def test_compare_says_who_wins(airtune, tmp_path):
    arguments = ["compare", TINY, "--methods", "joint, fedit", "--rounds", 1, "--out", "out"]
    code, output, error = airtune(*arguments)
    assert (code, error) == (0, "")
    for text in ("joint-depth-0: done", "reaches a test loss of", "ratio to", "tables: out/table.csv"):
        assert text in output
    assert "report: out/report.html" in output
    assert (tmp_path / "out" / "table.tex").exists()
    code, again, _ = airtune(*arguments)
    assert code == 0
    assert "done" not in again
    assert again in output


def test_comparisons_that_cannot_begin(refused, tmp_path):
    given = ["compare", TINY, "--out", "out", "--methods"]
    assert "--methods: found 'best', expected one of joint" in refused(*given, "joint,best")
    assert "--reductions: found 'height'" in refused(*given, "joint", "--reductions", "height")
    assert "--bandwidth: found 'equal'" in refused(*given, "joint", "--bandwidth", "own,equal")
    alone = refused(*given, "fedbuff", "--bandwidth", "optimal")
    assert "bandwidth: found 'optimal', expected own, as fedbuff waits for no round to end" in alone
    assert "--target-loss: found 'low', expected auto" in refused(*given, "joint", "--target-loss", "low")
    assert "--target-loss: found -1.0" in refused(*given, "joint", "--target-loss", "-1")
    assert "--target-loss: found nan, expected a finite number" in refused(
        *given, "joint", "--target-loss", "nan"
    )
    for budget in ("0", "inf", "5 parsec"):
        expected = f"--budget: found '{budget}', expected seconds, bytes or joules above 0, such as '400 s'"
        assert expected in refused(*given, "joint", "--budget", budget)
    learnt = refused(*given, "joint", "--learnt", "/dev/null/learnt")
    assert learnt == "airtune: /dev/null/learnt: found Not a directory, expected a folder to write to\n"
    assert "missing.yaml: found No such file" in refused(
        "compare", "missing.yaml", "--methods", "joint", "--out", "out"
    )
    (tmp_path / "file").touch()
    assert "expected a folder to write to" in refused(*given[:3], "file", "--methods", "joint")


def test_a_refused_comparison_prints_nothing_but_its_error(airtune):
    code, output, error = airtune("compare", TINY, "--out", "out", "--methods", "best")
    assert (code, output, error.count("\n")) == (2, "", 1)


def test_a_method_that_is_not_made_for_the_scenario_is_refused_before_anything_is_played(refused, tmp_path):
    text = TINY.read_text().replace("data: tiny.jsonl", f"data: {TINY.with_suffix('.jsonl')}")
    (tmp_path / "scenario.yaml").write_text(text.replace("{rank: 4, alpha: 8}", "{rank: full}"))
    error = refused("compare", "scenario.yaml", "--methods", "fedit,hetlora", "--out", "out")
    assert error == "airtune: scenario: lora.rank: found 'full', expected a number, as hetlora gives ranks\n"


# -- sweep --------------------------------------------------------------------------------------------


def test_sweep_says_who_is_fastest_where(airtune, tmp_path):
    assert airtune("compare", TINY, "--methods", "joint,fedit", "--rounds", 1, "--out", "out")[0] == 0
    code, output, error = airtune("sweep", "out", "--compute", "0.5, 4", "--clients", "2,6")
    assert (code, error) == (0, "")
    for text in ("speed of every device", "best baseline", "fastest by compute: ", "table:  out/sweep.csv"):
        assert text in output
    assert "charts: out/sweep.html" in output
    assert (tmp_path / "out" / "sweep.html").exists()


def test_sweeps_that_cannot_begin(refused):
    assert refused("sweep", "out", "--compute", "fast") == (
        "airtune: --compute: found 'fast', expected a number\n"
    )
    assert "--bandwidth: found '', expected a number in Hz" in refused("sweep", "out", "--bandwidth", "2MHz,")
    assert "--heterogeneity: found '-1', expected at least 0" in refused(
        "sweep", "out", "--heterogeneity", "-1"
    )
    assert "--clients: found '2.5', expected a whole number" in refused("sweep", "out", "--clients", "2.5")
    assert "found nothing, expected values of compute" in refused("sweep", "out")
    assert "out/compare.json: found No such file" in refused("sweep", "out", "--compute", "2")


# -- What is loaded -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["plan", "problem.json"], ["init"]])
def test_light_commands_load_no_heavy_library(arguments, tmp_path):
    (tmp_path / "problem.json").write_text(problem())
    code = (
        "import atexit, sys\n"
        "heavy = ('torch', 'transformers', 'flwr', 'peft')\n"
        "atexit.register(lambda: print('loaded', [name for name in heavy if name in sys.modules]))\n"
        "from airtune.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("loaded []\n")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("memory: 64 MB", "memory: 1 kB", "infeasible: client slow-0"),
        ("distance: [300 m, 600 m]", "distance: 300 m, labels: [nope]", "nope"),
    ],
)
def test_a_run_that_cannot_begin_leaves_nothing(before, after, expected, refused, tmp_path):
    text = Path(TINY).read_text()
    text = text.replace("data: tiny.jsonl", f"data: {Path(TINY).with_suffix('.jsonl')}").replace(
        before, after, 1
    )
    if "labels" in after:
        text = text.replace("distance: [50 m, 200 m]", "distance: 100 m, labels: [pens]")
        text += "partition: {kind: labels}\n"
    (tmp_path / "scenario.yaml").write_text(text)
    assert expected in refused("run", "scenario.yaml", "--out", "out")
    assert not (tmp_path / "out").exists()


# -- calibrate ----------------------------------------------------------------------------------------


def test_calibrate_of_no_run(refused, airtune):
    assert "nowhere: found no such folder, expected the folder of a run" in refused("calibrate", "nowhere")
    assert "events.jsonl: found No such file" in refused("calibrate", ".", "--target", "1.5")
    assert "Missing argument" in airtune("calibrate")[2]
