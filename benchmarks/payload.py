"""What payloads cost in bytes and in loss: the tables of docs/payload.md, one JSON object a row.

    python benchmarks/payload.py bytes
    python benchmarks/payload.py loss --seeds 1 2 3 --rounds 12

`bytes`: messages of SmolLM2-135M with rank 16 on all projections. `loss`: the tiny scenario with `fedit`, so
that every payload has the same plans.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

from airtune import load_scenario, run
from airtune.costs.count import download_bytes, upload_bytes
from airtune.costs.shapes import ModelShape
from airtune.learning.models import load_base
from airtune.pruning.submodel import model_shape
from airtune.results.events import EVENTS_FILE, read_events, round_events
from airtune.scenario import Lora, Payload, Scenario
from airtune.scenario.learning import PROJECTIONS

EXAMPLES = Path(__file__).parents[1] / "examples"
EXACT = {"format": "float32", "download": "float32"}
FORMS: list[dict[str, Any]] = [
    {"format": "float32"},
    {"format": "bfloat16"},
    {"format": "int8"},
    {"format": "int4"},
    {"format": "float32", "keep": 0.25},
    {"format": "int4", "keep": 0.25},
    {"format": "float32", "keep": 0.1},
    {"format": "int4", "keep": 0.1},
    {"format": "int4", "keep": 0.05},
]
DOWNLOADS = [{"format": form, "download": "bfloat16"} for form in ("float32", "int8")]


def byte_rows() -> Iterator[dict[str, Any]]:
    """MB up and down of a whole SmolLM2-135M adapter, and of B alone."""
    model = load_base("smollm2-135m", "float32").model
    both = model_shape(model, Lora(rank=16, projections=PROJECTIONS))
    only_b = model_shape(model, Lora(rank=16, projections=PROJECTIONS, train_a=False))
    for form in FORMS:
        payload = Payload.model_validate(form | {"download": "float32"})
        yield {**form, "up": _mb(both, payload), "up_of_b": _mb(only_b, payload)}
    for down in ("float32", "bfloat16"):
        payload = Payload.model_validate({"download": down})
        yield {
            "download": down,
            "down": round(download_bytes(both, payload) / 1e6, 2),
            "down_of_b": round(download_bytes(only_b, payload) / 1e6, 2),
        }


def loss_rows(seeds: list[int], rounds: int) -> Iterator[dict[str, Any]]:
    """kB a client and round, simulated seconds and test losses, means over seeds."""
    tiny = load_scenario(EXAMPLES / "tiny.yaml").model_dump() | {"method": "fedit", "rounds": rounds}
    frozen = {"lora": tiny["lora"] | {"train_a": False}}
    variants = [{"payload": EXACT | form} for form in [*FORMS, *DOWNLOADS]]
    variants += [{"payload": EXACT | form, **frozen} for form in ({}, {"format": "int4"})]
    for variant in variants:
        runs = [_play(Scenario.model_validate(tiny | variant | {"seed": seed})) for seed in seeds]
        yield {
            **variant["payload"],
            "train_a": "lora" not in variant,
            "kb_up": round(mean(rows[-1]["bytes_up"] for rows in runs) / 4e3, 1),
            "kb_down": round(mean(rows[-1]["bytes_down"] for rows in runs) / 4e3, 1),
            "simulated_s": round(mean(rows[-1]["clock_s"] for rows in runs), 1),
            "loss_3": round(mean(rows[2]["loss"] for rows in runs), 3),
            "loss_end": round(mean(rows[-1]["loss"] for rows in runs), 3),
        }


def _mb(shape: ModelShape, payload: Payload) -> float:
    return round(upload_bytes(shape, payload) / 1e6, 2)


def _play(scenario: Scenario) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        run(scenario, folder)
        return round_events(read_events(Path(folder) / EVENTS_FILE))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("table", choices=["bytes", "loss"])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments.add_argument("--rounds", type=int, default=12)
    given = arguments.parse_args()
    rows = byte_rows() if given.table == "bytes" else loss_rows(given.seeds, given.rounds)
    for row in rows:
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
