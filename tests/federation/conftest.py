"""What tests share and none changes: the tiny scenario, a finished run of it, and what its rounds share."""

from pathlib import Path

import pytest

from airtune import Scenario, load_scenario, run
from airtune.federation.setting import Setting, make_setting
from airtune.pruning.adapters import Adapter, initial_adapter
from airtune.pruning.measured import measured_path
from airtune.scenario import Payload

TINY = Path(__file__).parents[2] / "examples" / "tiny.yaml"


@pytest.fixture(scope="session")
def tiny() -> Scenario:
    return load_scenario(TINY)


@pytest.fixture(scope="session")
def finished(tiny: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tiny, tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="module")
def pair(tiny: Scenario) -> Scenario:
    """Two clients and two rounds, with uploads that still owe something: clients have to remember it."""
    clients = [group.model_dump() | {"count": 1} for group in tiny.clients]
    payload = {"format": "int4", "keep": 0.3}
    return Scenario.model_validate(tiny.model_dump() | {"clients": clients, "rounds": 2, "payload": payload})


@pytest.fixture(scope="module")
def straight(pair: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(pair, tmp_path_factory.mktemp("straight") / "run")


@pytest.fixture(scope="module")
def setting(tiny) -> Setting:
    """The clients here send what they like as it is."""
    exact = tiny.model_copy(update={"payload": Payload(format="float32", download="float32")})
    return make_setting(exact, measured_path(exact))


@pytest.fixture(scope="module")
def adapter(setting) -> Adapter:
    return initial_adapter(setting.measured.path.full, 0)
