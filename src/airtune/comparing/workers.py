"""Worker processes: as many at once as cores and memory allow, each playing one job in a fresh process."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airtune.comparing.folder import LOGS, CompareFolder
from airtune.comparing.memory import memory_left, memory_of
from airtune.comparison_file import Job
from airtune.observer import CompareObserver
from airtune.results.events import EVENTS_FILE

POLL_S = 0.2
MARGIN = 1.2  # of the largest memory a worker has needed so far
END_S = 10.0  # what a worker that is asked to end may take


@dataclass
class Worker:
    """A running job: its run's folder, rounds played when it began and by now, and the most memory seen."""

    job: Job
    process: "subprocess.Popen[str]"
    run: Path
    log: Path
    begun: int
    rounds: int
    peak: int = 0

    def look(self) -> None:
        """See how far it is, and how much memory it holds."""
        self.rounds = rounds_played(self.run)
        self.peak = max(self.peak, memory_of(self.process.pid))

    @property
    def has_shown_its_peak(self) -> bool:
        """Whether it has played a round, or ended."""
        return self.rounds > self.begun or self.process.returncode is not None


def play_all(
    folder: CompareFolder, jobs: Sequence[Job], learnt: Path, workers: int | None, observer: CompareObserver
) -> dict[str, str]:
    """Play all jobs; one that fails does not stop the others.

    Args:
        workers: at once; by default as many as there are cores, and as memory allows once a first worker has
            shown how much one needs.

    Returns:
        Why jobs have failed, by name.
    """
    cores = os.cpu_count() or 1
    most = max(1, min(workers or cores, len(jobs)))
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, cores // most))
    waiting, failed, done, peak = list(jobs), {}, 0, 0
    (folder.directory / LOGS).mkdir(exist_ok=True)
    with _running() as running:
        while waiting or running:
            roomy = workers is not None or _room(running, peak)
            if waiting and len(running) < most and roomy:
                job = _next(waiting, [worker.job for worker in running])
                waiting.remove(job)
                running.append(_start(folder, job, learnt, threads))
                continue
            time.sleep(POLL_S)
            ended = [worker for worker in running if worker.process.poll() is not None]
            for worker in running:
                worker.look()
            peak = max([peak, *(worker.peak for worker in running if worker.has_shown_its_peak)])
            for worker in ended:
                running.remove(worker)
                done += worker.rounds
                reason = _reason(worker)
                if reason is not None:
                    failed[worker.job.name] = reason
                observer.on_end(worker.job.name, reason)
            rounds = done + sum(worker.rounds for worker in running)
            observer.on_progress(rounds, [worker.job.name for worker in running])
    return failed


def rounds_played(run: Path) -> int:
    """Rounds in a run's events so far."""
    try:
        return (run / EVENTS_FILE).read_bytes().count(b'{"event": "round"')
    except OSError:
        return 0


def _next(waiting: Sequence[Job], running: Sequence[Job]) -> Job:
    """The first job that will not wait for one that learns the same meanwhile, or else the first."""
    busy = {job.alike for job in running}
    return next((job for job in waiting if job.alike not in busy), waiting[0])


def _room(running: Sequence[Worker], peak: int) -> bool:
    """Whether memory allows one more worker, if all come to need as much as any has so far."""
    if not running:
        return True
    growing = sum(max(0, peak - memory_of(worker.process.pid)) for worker in running)
    return peak > 0 and memory_left() - growing > MARGIN * peak


def _start(folder: CompareFolder, job: Job, learnt: Path, threads: str) -> Worker:
    run, log = job.folder(folder.directory), folder.directory / LOGS / f"{job.name}.log"
    command = [sys.executable, "-m", "airtune.comparing.worker", str(folder.directory), job.name, str(learnt)]
    begun = rounds_played(run)
    with log.open("w") as written:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=written,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": threads},
            start_new_session=True,  # Ctrl-C is for the parent, which ends them
        )
    return Worker(job, process, run, log, begun, begun)


def _reason(worker: Worker) -> str | None:
    """The last line a failed worker has written; the log of one that ended well is deleted."""
    status = worker.process.returncode
    if status == 0:
        worker.log.unlink()
        return None
    lines = worker.log.read_text(errors="replace").strip().splitlines()
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    return lines[-1].strip() if lines else how


@contextmanager
def _running() -> Iterator[list[Worker]]:
    """Workers that are all ended, and waited for, when this is left, however it is left."""
    running: list[Worker] = []
    try:
        yield running
    finally:
        for worker in running:
            worker.process.terminate()
        for worker in running:
            try:
                worker.process.wait(END_S)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
