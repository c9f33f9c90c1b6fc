"""A comparison of the tiny scenario, its runs played in this process: faster than workers, and the same."""

from pathlib import Path

import pytest

from airtune import Scenario, load_scenario, run
from airtune.comparing.folder import LEARNT, CompareFolder
from airtune.comparison_file import checked_settings, jobs_of

TINY = Path(__file__).parents[2] / "examples" / "tiny.yaml"


@pytest.fixture(scope="session")
def tiny() -> Scenario:
    """With an overhead of the fast clients, short enough for them to wait all the same."""
    scenario = load_scenario(TINY, rounds=3)
    slow, fast = scenario.clients
    return scenario.model_copy(update={"clients": (slow, fast.model_copy(update={"overhead": 0.5}))})


@pytest.fixture(scope="session")
def compared(tiny, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("swept") / "out"
    methods = ["joint-select", "joint", "fedit", "bandwidth-only", "drop-slowest", "fedbuff"]
    fields = {"methods": methods, "reductions": ["examples"], "seeds": [0], "target_loss": 5.25}
    settings = checked_settings(fields, "compare")
    scenario = tiny.model_copy(update={"reduction": "examples"})
    CompareFolder(directory).prepare(scenario, settings)
    for job in jobs_of(settings, scenario):
        run(job.scenario(scenario), job.folder(directory), learnt=directory / LEARNT)
    return directory
