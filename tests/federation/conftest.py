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
