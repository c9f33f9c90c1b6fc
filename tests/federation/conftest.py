"""The tiny scenario, and one finished run of it that all tests look at and none changes."""

from pathlib import Path

import pytest

from airtune import Scenario, load_scenario, run

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
