"""One worker process: plays one run of a comparison, to its end, and measures the task's metric.

    python -m airtune.comparing.worker DIR JOB LEARNT

It ends when its parent does: standard input, a pipe from the parent, is closed then.
"""

import json
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from airtune.comparing.folder import CompareFolder
from airtune.comparison_file import METRIC, Job, Settings, jobs_of
from airtune.errors import AirtuneError
from airtune.files import write_whole


def play(directory: Path, job: Job, learnt: Path) -> None:
    """Play a job, or go on with it.

    Raises:
        AirtuneError: the run is not possible.
    """
    from airtune import api
    from airtune.federation.checkpoint import Checkpoint
    from airtune.federation.learnt_rounds import LearntRounds
    from airtune.learning.generation import measure_metric

    folder = CompareFolder(directory)
    scenario, run = job.scenario(folder.scenario()), job.folder(directory)
    api.run(scenario, run, resume=run.exists(), learnt=learnt, budget=Settings.load(directory).budget)
    end = Checkpoint.load(run)
    assert end is not None  # of a finished run
    rounds = LearntRounds(learnt)
    metric = rounds.metric(end.key)
    if metric is None and end.adapter:
        learned = run / ("model" if (run / "model").exists() else "adapter")
        measured = measure_metric(scenario, learned)
        metric = None if measured is None else asdict(measured)
        if metric is not None:
            rounds.keep_metric(end.key, metric)
    if metric is not None:
        write_whole(run / METRIC, json.dumps(metric) + "\n")


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Entry point."""
    directory, name, learnt = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    jobs = jobs_of(Settings.load(directory), CompareFolder(directory).scenario())
    try:
        play(directory, next(job for job in jobs if job.name == name), learnt)
    except AirtuneError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
