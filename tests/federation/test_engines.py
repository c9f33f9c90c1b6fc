"""One job on each of Flower's engines, for `.ci/run`: it learns what one process does, to the bit."""

from pathlib import Path

import pytest

from airtune import Scenario, run

ADAPTER = "adapter/adapter_model.safetensors"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(145)]


@pytest.fixture(scope="module")
def job(tiny: Scenario) -> Scenario:
    clients = [group.model_dump() | {"count": 1} for group in tiny.clients]
    return Scenario.model_validate(tiny.model_dump() | {"clients": clients, "rounds": 2})


@pytest.fixture(scope="module")
def learnt_here(job: Scenario, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return (run(job, tmp_path_factory.mktemp("straight") / "run") / ADAPTER).read_bytes()


@pytest.mark.parametrize("engine", ["flower-simulation", "flower-deployment"])
def test_a_job_learns_the_same(engine: str, job: Scenario, learnt_here: bytes, tmp_path: Path):
    folder = run(job, tmp_path / "run", engine=engine)
    assert (folder / ADAPTER).read_bytes() == learnt_here
