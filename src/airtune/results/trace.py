"""Timelines in simulated time as a trace that Perfetto (ui.perfetto.dev) and chrome://tracing open.

The format is Chrome's Trace Event Format, JSON object form: `ph` is M (names), X (slices with `ts` and `dur`
in microseconds) or C (counters). A run is a process with its rounds and its test loss, followed by a process
for each client with what it does and its bandwidth.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airtune.comparison_file import SETTINGS
from airtune.files import write_whole
from airtune.results.comparison import Comparison
from airtune.results.event_schema import Lost
from airtune.results.history import History
from airtune.results.trainings import Training, lost_updates, trainings

TRACE_FILE = "trace.json"
THREAD = 1

Event = dict[str, Any]


def write_trace(directory: Path, out: Path | None = None) -> Path:
    """Write the trace of the run or comparison in a folder, and return its path.

    Args:
        out: by default `directory`/trace.json.

    Raises:
        InputError: the folder or a file in it is missing or wrong, or the trace cannot be written.
        AirtuneError: no run of the comparison has ended.
    """
    if (directory / SETTINGS).exists():
        runs = {run.job.name: run.history for run in Comparison.load(directory).runs}
    else:
        history = History.read(directory)
        runs = {history.start["method"]: history}
    out = directory / TRACE_FILE if out is None else out
    text = json.dumps(trace(runs), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    write_whole(out, text + "\n")
    return out


def trace(runs: dict[str, History]) -> dict[str, Any]:
    """The trace of runs by their names; all of them begin at 0."""
    events: list[Event] = []
    for name, history in runs.items():
        events += _run(name, history, first=_processes(events) + 1)
    return {"displayTimeUnit": "ms", "traceEvents": events}


def _processes(events: list[Event]) -> int:
    return max((event["pid"] for event in events), default=0)


def _run(name: str, history: History, first: int) -> Iterator[Event]:
    """A run as process `first`, its clients as those after it."""
    clients = {client: first + place for place, client in enumerate(history.clients, start=1)}
    yield from _names(first, name, "rounds")
    for client, process in clients.items():
        yield from _names(process, f"{name}: {client}", "round")
    yield _counter(first, "test loss", 0.0, history.start["loss"])
    for event in history.rounds:
        begin = event["clock_s"] - event["round_s"]
        planned = {"planned round (s)": event["planned_s"], "test loss": event["loss"]}
        yield _slice(first, f"round {event['round']}", begin, event["round_s"], planned)
        yield _counter(first, "test loss", event["clock_s"], event["loss"])
    doing: dict[tuple[str, int], Training | Lost] = {**trainings(history), **lost_updates(history)}
    for client, process in clients.items():
        yield from _client(
            process, history, [doing.get((client, place)) for place in range(len(history.rounds))]
        )


def _client(process: int, history: History, doing: list[Training | Lost | None]) -> Iterator[Event]:
    """What a client was at in each of R rounds, a training of several rounds once."""
    before = None
    for event, training in zip(history.rounds, doing, strict=True):
        begin = event["clock_s"] - event["round_s"]
        if isinstance(training, dict):
            yield _counter(process, "bandwidth (Hz)", begin, 0.0)
            yield _slice(process, f"lost: {training['why']}", begin, event["round_s"], dict(training))
        elif training is None:
            yield _counter(process, "bandwidth (Hz)", begin, 0.0)
            yield _slice(process, "left out", begin, event["round_s"], {})
        elif training is not before:
            yield _counter(process, "bandwidth (Hz)", training.begin_s, training.row["bandwidth_hz"])
            yield from _phases(process, training)
        before = training


def _phases(process: int, training: Training) -> Iterator[Event]:
    """What takes time from download to waiting, one after the other."""
    client = training.row
    details: dict[str, Event] = {
        "download": {"bytes": client["bytes_down"]},
        "overhead": {},
        "compute": {
            "pruning rate": client["prune"],
            "trained layers": client["trained_layers"],
            "FLOP": client["flops"],
            **({"training loss": client["loss"]} if "loss" in client else {}),
            **_joules(client.get("compute_j")),
        },
        "upload": {
            "bytes": client["bytes_up"],
            "bandwidth (Hz)": client["bandwidth_hz"],
            **_joules(client.get("transmit_j")),
        },
        "waiting": {},
    }
    for phase, begin, end in training.phases():
        yield _slice(process, phase, begin, end - begin, details[phase])


def _joules(energy: float | None) -> Event:
    return {} if energy is None else {"energy (J)": energy}


def _names(process: int, name: str, thread: str) -> Iterator[Event]:
    yield {"ph": "M", "name": "process_name", "pid": process, "tid": THREAD, "args": {"name": name}}
    yield {"ph": "M", "name": "thread_name", "pid": process, "tid": THREAD, "args": {"name": thread}}
    # Otherwise viewers order processes by what they did first.
    order = {"sort_index": process}
    yield {"ph": "M", "name": "process_sort_index", "pid": process, "tid": THREAD, "args": order}


def _slice(process: int, name: str, begin_s: float, seconds: float, details: Event) -> Event:
    start, end = _microseconds(begin_s), _microseconds(begin_s + seconds)
    times = {"ts": start, "dur": round(end - start, 3)}
    return {"ph": "X", "name": name, "cat": "round", "pid": process, "tid": THREAD, **times, "args": details}


def _counter(process: int, name: str, at_s: float, value: float) -> Event:
    at = _microseconds(at_s)
    return {"ph": "C", "name": name, "pid": process, "tid": THREAD, "ts": at, "args": {"value": value}}


def _microseconds(seconds: float) -> float:
    """Whole nanoseconds: slices that meet in the run meet in the trace."""
    return round(1e6 * seconds, 3)
