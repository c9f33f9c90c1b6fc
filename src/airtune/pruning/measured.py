"""A model's reduction path, measured once for a model, task and LoRA setting and then kept in the cache.

Measuring needs torch and the model; planning afterwards needs neither.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from airtune.assets import cache_folder
from airtune.costs.count import Workload, compensation_bytes, download_bytes, memory_bytes, upload_bytes
from airtune.costs.curves import GradientError, PathCurves, SubmodelCosts, fit_curves
from airtune.costs.layouts import LAYOUTS
from airtune.costs.shapes import ModelShape
from airtune.files import put_in_place
from airtune.pruning.path import MeanInputs, Reduction, ReductionPath
from airtune.pruning.path_check import check_path
from airtune.scenario import Payload, Scenario

FORMAT = 16  # counts up whenever what is measured, or how, changes
CURVE_POINTS = 11
NO_MEAN = MeanInputs(np.zeros(0, np.float32), np.zeros(0, np.float32))  # in files
SIZES = ("hidden", "vocabulary", "embeddings", "head_dim", "heads_per_group", "rank", "positions", "norms")


@dataclass(frozen=True)
class MeasuredPath:
    """A path, a typical and the largest training step, the size of a base weight, and the gradients' error.

    All on calibration text.
    """

    path: ReductionPath
    work: Workload
    largest: Workload
    weight_bytes: int
    error: GradientError

    def curves(self, prune_max: float, payload: Payload) -> PathCurves:
        """What the planner sees of it, up to the last rate of the path that is at most `prune_max`."""
        last = self.path.within(prune_max)
        # A short path snaps several points to the same sub-model; each counts once.
        rates = np.unique([self.path.snapped(prune) for prune in np.linspace(0.0, last, CURVE_POINTS)])
        costs = [self.costs(self.path.reduction(float(prune)), payload) for prune in rates]
        return fit_curves(rates, costs, self.error)

    def costs(self, reduction: Reduction, payload: Payload) -> SubmodelCosts:
        """What a client's round costs with a sub-model, of this path or not."""
        full, shape = self.path.full, reduction.shape(self.path.full)
        sent = shape if reduction.stacked is None else replace(shape, rank=reduction.stacked)
        received = download_bytes(sent, payload)
        if reduction.mean is not None:
            received += compensation_bytes(full, shape)
        # Rows are whole, so the largest batch is rounded up.
        largest = replace(self.largest, rows=math.ceil(self.largest.rows * reduction.examples))
        return SubmodelCosts(
            step_flops=reduction.step_flops(full, self.work),
            upload_bits=8.0 * upload_bytes(shape, payload),
            download_bits=8.0 * received,
            memory_bytes=float(memory_bytes(shape, largest, self.weight_bytes)),
        )

    def save(self, file: Path) -> None:
        """Write to `file` in one step, so that nobody ever reads half of it."""
        file.parent.mkdir(parents=True, exist_ok=True)
        full, mean = self.path.full, self.path.mean or NO_MEAN
        temporary = file.with_name(f"{file.name}.{os.getpid()}.new")  # processes may measure the same path
        with temporary.open("wb") as opened:
            np.savez(
                opened,
                sizes=[getattr(full, size) for size in SIZES],
                head_norms=full.head_norms,
                train_a=full.train_a,
                layout=full.layout.name,
                projections=np.array(full.projections),
                kv_groups=full.kv_groups,
                neurons=full.neurons,
                neuron_order=self.path.neuron_order,
                group_order=self.path.group_order,
                kinds=self.path.kinds,
                layers=self.path.layers,
                prune=self.path.prune,
                mean_queries=mean.queries,
                mean_neurons=mean.neurons,
                work=[[step.rows, step.length, step.labels] for step in (self.work, self.largest)],
                weight_bytes=self.weight_bytes,
                error=[getattr(self.error, part.name) for part in fields(GradientError)],
            )
        put_in_place(temporary, file)

    @staticmethod
    def load(file: Path) -> "MeasuredPath":
        """Read what `save` wrote. Raises ValueError if it is not that."""
        try:
            with np.load(file, allow_pickle=False) as stored:
                return _from_arrays(stored)
        except Exception as error:  # NumPy and zipfile raise all kinds for damaged files
            raise ValueError(f"{file}: not a measured path") from error


def _from_arrays(stored: Mapping[str, npt.NDArray[Any]]) -> MeasuredPath:
    full = ModelShape(
        **{name: int(size) for name, size in zip(SIZES, stored["sizes"], strict=True)},
        projections=tuple(str(name) for name in stored["projections"]),
        kv_groups=stored["kv_groups"],
        neurons=stored["neurons"],
        layout=LAYOUTS[str(stored["layout"])],
        head_norms=bool(stored["head_norms"]),
        train_a=bool(stored["train_a"]),
    )
    path = ReductionPath(
        full,
        stored["neuron_order"],
        stored["group_order"],
        stored["kinds"],
        stored["layers"],
        stored["prune"],
        MeanInputs(stored["mean_queries"], stored["mean_neurons"]) if stored["mean_queries"].size else None,
    )
    work, largest = (
        Workload(int(rows), float(length), float(labels)) for rows, length, labels in stored["work"]
    )
    error, weight_bytes = GradientError(*stored["error"]), int(stored["weight_bytes"])
    check_path(path, (work, largest), error)
    if weight_bytes <= 0:
        raise ValueError("weights of no size")
    return MeasuredPath(path, work, largest, weight_bytes, error)


def measured_path(scenario: Scenario) -> MeasuredPath:
    """The path of a scenario's model: from the cache, or measured now (ten seconds or so for 135 M)."""

    def measure() -> MeasuredPath:
        from airtune.pruning.measure import measure_path  # torch: only when there is something to measure

        return measure_path(scenario)

    return kept(cache_folder() / "paths" / f"{_cache_key(scenario)}.npz", measure)


def kept(file: Path, make: Callable[[], MeasuredPath]) -> MeasuredPath:
    """The path in `file`; made and put there if it holds none."""
    try:
        return MeasuredPath.load(file)
    except ValueError:
        measured = make()
        measured.save(file)
        return measured


def _cache_key(scenario: Scenario) -> str:
    """A digest of all that the path depends on, files by name, size and time of change."""
    described = {
        "format": FORMAT,
        "model": scenario.model.model_dump(mode="json"),
        "lora": scenario.lora.model_dump(mode="json"),
        "task": scenario.task.model_dump(mode="json", exclude={"test_examples"}),
        "batch_size": scenario.training.batch_size,
        "seed": scenario.seed,
        "reduction": scenario.reduction,
        "criterion": scenario.criterion,
        "files": [file_states(name) for name in (scenario.model.name, scenario.task.data) if name],
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:24]


def file_states(name: str) -> list[tuple[str, int, int]]:
    """Path, size in bytes and time of change of the files that `name` is, a file or a folder."""
    root = Path(name).expanduser()
    files = sorted(root.iterdir()) if root.is_dir() else [root] if root.is_file() else []
    return [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
