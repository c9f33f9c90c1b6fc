"""Runs in TensorBoard and MLflow, read back with these libraries' own readers."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from airtune import AirtuneError, compare, load_scenario, run
from airtune.errors import ArgumentError
from airtune.observer import Observer
from airtune.results.events import append_events, read_events, round_events, start_event
from airtune.results.loggers import RunLogger
from airtune.scenario_file import dump_scenario

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[2] / "examples" / "tiny.yaml"


def needs(package: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"the package {package} is not installed")


@pytest.fixture(scope="module")
def tiny():
    return load_scenario(TINY, rounds=3)


class StopError(Exception):
    """Ends a run from within."""


class Stopper(Observer):
    """Ends a run when its second round is on file."""

    def on_round(self, event):
        if event["round"] == 2:
            raise StopError


def expected(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Some of a run's metrics as (round, simulated seconds, value)."""
    events = read_events(folder / "events.jsonl")
    rounds, first = round_events(events), start_event(events)["clients"][0]["id"]
    found = {
        "test_loss": [(0, 0.0, start_event(events)["loss"])],
        "bytes/up": [],
        "energy_j": [],
        "seconds/planned": [],
        f"prune/{first}": [],
        f"bandwidth_hz/{first}": [],
    }
    for event in rounds:
        (client,) = [client for client in event["clients"] if client["id"] == first]
        for name, value in (
            ("test_loss", event["loss"]),
            ("bytes/up", event["bytes_up"]),
            ("energy_j", event["energy_j"]),
            ("seconds/planned", event["planned_s"]),
            (f"prune/{first}", client["prune"]),
            (f"bandwidth_hz/{first}", client["bandwidth_hz"]),
        ):
            found[name].append((event["round"], event["clock_s"], value))
    return found


# -- TensorBoard --------------------------------------------------------------------------------------


def accumulated(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard")).Reload()


def assert_in_tensorboard(folder: Path) -> None:
    written = accumulated(folder)
    for name, points in expected(folder).items():
        found = [(point.step, point.wall_time, point.value) for point in written.Scalars(name)]
        assert [step for step, _, _ in found] == [step for step, _, _ in points]
        assert found == [pytest.approx(point, rel=1e-6) for point in points]


@needs("tensorboard")
def test_tensorboard_has_every_round_over_rounds_and_simulated_time(tiny, tmp_path):
    folder = run(tiny, tmp_path / "run", log="tensorboard")
    assert_in_tensorboard(folder)
    written = accumulated(folder)
    parameters = written.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"training.learning_rate" in parameters
    (text,) = written.Tensors("scenario/text_summary")
    assert b"learning_rate: 0.005" in text.tensor_proto.string_val[0]


@needs("tensorboard")
def test_a_run_that_goes_on_has_no_point_twice_in_tensorboard(tiny, tmp_path):
    with pytest.raises(StopError):
        run(tiny, tmp_path / "run", observer=Stopper(), log="tensorboard")
    folder = run(tiny, tmp_path / "run", resume=True, log="tensorboard")
    assert_in_tensorboard(folder)


@needs("tensorboard")
def test_rounds_from_before_there_was_a_logger_are_there_too(tiny, tmp_path):
    folder = run(tiny, tmp_path / "run")
    run(tiny, folder, resume=True, log="tensorboard")
    assert_in_tensorboard(folder)


@needs("tensorboard")
def test_every_run_of_a_comparison_is_logged(tiny, tmp_path):
    scenario = tiny.model_copy(update={"rounds": 1})
    logged = tmp_path / "out" / "runs" / "fedit-depth-0"
    compare(scenario, tmp_path / "out", ["fedit"], workers=1, log="tensorboard")
    assert_in_tensorboard(logged)
    shutil.rmtree(logged / "tensorboard")
    compare(scenario, tmp_path / "out", ["fedit"], workers=1, log="tensorboard")  # it has ended before
    assert_in_tensorboard(logged)


@needs("tensorboard")
def test_lost_updates_are_counted_and_energy_is_absent_where_nobody_knows_it(tiny, faulty, tmp_path):
    append_events(tmp_path / "events.jsonl", faulty)
    (tmp_path / "scenario.yaml").write_text(dump_scenario(tiny))
    with RunLogger("tensorboard", tmp_path):
        pass
    written = accumulated(tmp_path)
    assert [point.value for point in written.Scalars("lost_updates")] == [0, 2, 0]
    assert "energy_j" not in written.Tags()["scalars"]


# -- MLflow -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> str:
    """An MLflow store; making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def client(store, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="the package mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return mlflow.MlflowClient(store)


def assert_in_mlflow(client, folder: Path) -> None:
    found = client.get_run((folder / "mlflow-run").read_text().strip())
    assert found.info.status == "FINISHED"
    begin = found.info.start_time
    for name, points in expected(folder).items():
        history = client.get_metric_history(found.info.run_id, name)
        history = sorted((one.step, (one.timestamp - begin) / 1e3, one.value) for one in history)
        assert history == [pytest.approx(point, rel=1e-6, abs=1e-3) for point in points]


@needs("mlflow")
def test_mlflow_has_every_round_and_the_scenario(client, tiny, tmp_path):
    folder = run(tiny, tmp_path / "a-run", log="mlflow")
    assert_in_mlflow(client, folder)
    found = client.get_run((folder / "mlflow-run").read_text().strip())
    assert found.info.run_name == "a-run"
    assert client.get_experiment(found.info.experiment_id).name == "tiny"
    assert found.data.params["training.learning_rate"] == "0.005"
    assert found.data.params["clients.1.device.name"] == "gateway"
    assert found.data.metrics.keys() >= {"seconds/simulated", "flops", "participants"}


@needs("mlflow")
def test_a_run_that_goes_on_has_no_point_twice_in_mlflow(client, tiny, tmp_path):
    with pytest.raises(StopError):
        run(tiny, tmp_path / "run", observer=Stopper(), log="mlflow")
    first = (tmp_path / "run" / "mlflow-run").read_text()
    assert client.get_run(first.strip()).info.status == "KILLED"
    folder = run(tiny, tmp_path / "run", resume=True, log="mlflow")
    assert (folder / "mlflow-run").read_text() == first
    assert_in_mlflow(client, folder)
    run(tiny, folder, resume=True, log="mlflow")  # it has finished: nothing is added
    assert_in_mlflow(client, folder)


@needs("mlflow")
def test_a_round_that_was_logged_in_part_is_completed(client, tiny, tmp_path):
    from airtune.results.mlflow_log import MlflowLog

    log = MlflowLog(tmp_path, "tiny", {})
    log.write(1, 5.0, {"test_loss": 2.0})
    again = MlflowLog(tmp_path, "tiny", {})
    again.write(1, 5.0, {"test_loss": 2.0, "flops": 7.0})
    number = (tmp_path / "mlflow-run").read_text().strip()
    for name, value in (("test_loss", 2.0), ("flops", 7.0)):
        (point,) = client.get_metric_history(number, name)
        assert (point.step, point.value) == (1, value)


@needs("mlflow")
def test_a_store_that_does_not_answer_is_one_line(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://at-all")
    with pytest.raises(AirtuneError, match=r"^mlflow: [^\n]+$"):
        run(tiny.model_copy(update={"rounds": 1}), tmp_path / "run", log="mlflow")


@needs("mlflow")
def test_a_store_that_goes_away_does_not_hide_why_a_run_ended(client, tiny, tmp_path):
    class Leaver(Observer):
        """Takes the run's id away from under its log, and ends the run."""

        def on_round(self, event):
            if event["round"] == 2:
                client.delete_run((tmp_path / "run" / "mlflow-run").read_text().strip())
                raise StopError

    with pytest.raises(StopError):
        run(tiny, tmp_path / "run", observer=Leaver(), log="mlflow")


@needs("mlflow")
def test_a_comparison_that_cannot_be_logged_is_played_to_its_end(tiny, client, tmp_path, monkeypatch):
    scenario, methods, out = tiny.model_copy(update={"rounds": 1}), ["fedit", "joint"], tmp_path / "out"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://at-all")
    message = r"^mlflow: [^\n]+; not logged: \S+-depth-0, \S+-depth-0; to log them, compare again$"
    with pytest.raises(AirtuneError, match=message):
        compare(scenario, out, methods, workers=1, log="mlflow")
    assert (out / "report.html").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    assert compare(scenario, out, methods, workers=1, log="mlflow").missing == ()
    for method in methods:
        assert_in_mlflow(client, out / "runs" / f"{method}-depth-0")


# -- Which there are ----------------------------------------------------------------------------------


def test_there_is_no_other_logger(tiny, tmp_path):
    with pytest.raises(ArgumentError, match="log: found 'wandb', expected tensorboard or mlflow"):
        run(tiny, tmp_path / "run", log="wandb")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_package_is_named_with_its_extra_before_anything_begins(tiny, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    message = rf"^--log {name} needs {name}: pip install 'airtune\[{name}\]'$"
    with pytest.raises(AirtuneError, match=message):
        run(tiny, tmp_path / "run", log=name)
    assert not (tmp_path / "run").exists()
