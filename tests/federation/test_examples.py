"""The examples for Flower projects of one's own do what they say, and Flower takes them as they are."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from flwr.app import Context, RecordDict
from flwr.cli.build import build_fab_from_disk
from flwr.cli.config_utils import load_and_validate

from airtune.federation.grid import RUN_ID, InProcessGrid
from airtune.federation.server_app import server_app
from airtune.observer import Observer
from airtune.results.events import read_events

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def served(config: dict) -> Context:
    return Context(RUN_ID, node_id=0, node_config={}, state=RecordDict(), run_config=config)


def test_a_project_of_one_s_own_plans_its_rounds(capsys):
    module = loaded(EXAMPLES / "flower-planner" / "planned.py")
    module.server(InProcessGrid(module.client, 4, {}), served({"rounds": 3}))
    first, *rounds = capsys.readouterr().out.splitlines()
    assert first.startswith("a round takes ")
    losses = [float(line.split()[-1]) for line in rounds]
    assert len(losses) == 3
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.6 * losses[0]


def test_a_client_of_one_s_own_learns_with_our_server(tiny, finished, tmp_path):
    module = loaded(EXAMPLES / "flower-client" / "own_client.py")
    config = {"scenario": str(EXAMPLES / "tiny.yaml"), "out": str(tmp_path / "run"), "resume": False}
    server_app(Observer())(InProcessGrid(module.app, len(tiny.members()), config), served(config))
    start, *rounds, _ = read_events(tmp_path / "run" / "events.jsonl")
    assert not any("lost" in event for event in rounds)
    assert rounds[-1]["loss"] < start["loss"] - 0.03
    adapter = "adapter/adapter_model.safetensors"
    assert (tmp_path / "run" / adapter).read_bytes() != (finished / adapter).read_bytes()


@pytest.mark.parametrize("project", [ROOT, EXAMPLES / "flower-planner", EXAMPLES / "flower-client"])
def test_flower_takes_the_projects_as_they_are(project):
    load_and_validate(project / "pyproject.toml")
    assert len(build_fab_from_disk(project)) < 10 * 2**20
