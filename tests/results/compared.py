"""Comparison folders made by hand, from the losses and seconds of runs."""

import json
from pathlib import Path

from airtune import Scenario
from airtune.comparing.folder import CompareFolder
from airtune.comparison_file import METRIC, checked_settings

DEVICE = {"name": "sensor", "throughput": 2e8, "memory": 64e6}
ONE = {"id": "one", "device": DEVICE, "distance": 100, "labels": ["a"]}
SCENARIO = Scenario.model_validate(
    {
        **{"model": {"name": "tiny"}, "rounds": 3, "partition": {"kind": "labels"}},
        "clients": [ONE, ONE | {"id": "alike"}],
    }
)


def write_run(
    folder: Path,
    losses: list[float],
    round_s: float,
    metric: float | None = None,
    groups: bool = False,
    energy_j: float | None = None,
    lost: list[dict] | None = None,
) -> None:
    """A finished run: the loss before and after each round of `round_s` seconds, 10 bytes up and 20 down."""
    folder.mkdir(parents=True)
    method, reduction, _ = folder.name.rsplit("-", 2)
    member = {"id": "one", "group": "one", "device": "sensor", "cell": "cell-0", "weight": 1.0}
    events: list[dict] = [
        {
            **{"event": "start", "schema": "airtune-events/1", "version": "0", "scenario": "hand"},
            **{"method": method, "reduction": reduction, "rounds": 3, "loss": losses[0], "machine": "m"},
            "clients": [member],
        }
    ]
    for number, loss in enumerate(losses[1:], start=1):
        spent = {"round_s": round_s, "planned_s": round_s, "fedit_s": 2 * round_s, "elapsed_s": 0.1}
        client = {"prune": 0.0, "bandwidth_hz": 1e6, "download_s": 0.0, "compute_s": 0.0, "waiting_s": 0.0}
        client |= {"bytes_up": 10, "bytes_down": 20, "flops": 5.0, "loss": loss, "trained_layers": 1}
        events.append(
            {
                **{"event": "round", "round": number, "clock_s": number * round_s, "loss": loss},
                **spent,
                **{"bytes_up": 10, "bytes_down": 20, "flops": 5.0},
                **({"group_loss": {"one": loss / 2}} if groups else {}),
                **({} if energy_j is None else {"energy_j": energy_j}),
                "clients": [] if lost else [{"id": "one", "upload_s": round_s / 2, **client}],
                **({"lost": lost} if lost else {}),
            }
        )
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (folder / "summary.json").write_text("{}")
    if metric is not None:
        measured = {"name": "accuracy", "value": metric, "examples": 8}
        by_group = {"by_group": {"one": metric / 2}} if groups else {}
        (folder / METRIC).write_text(json.dumps(measured | by_group))


def begin(directory: Path, methods: list[str], seeds: int = 1, **changes: object) -> Path:
    """The folder of a comparison without any run yet; where runs are to be written."""
    fields = {"methods": methods, "reductions": ["examples"], "seeds": list(range(seeds))} | changes
    CompareFolder(directory).prepare(SCENARIO, checked_settings(fields, "compare"))
    return directory / "runs"
