"""How long training steps take on this machine, along the reduction path and for several lengths of text."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from airtune.costs.count import Workload
from airtune.learning.models import load_base
from airtune.learning.tokens import NO_LABEL, Batch
from airtune.learning.training import train
from airtune.pruning.adapters import initial_adapter, slice_adapter
from airtune.pruning.path import Importance, build_path
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape
from airtune.randomness import generator
from airtune.scenario import Lora

ROWS, LENGTHS, RATES, REPEATS = 4, (64, 128, 256), (1.0, 0.5, 0.0), 3


@dataclass(frozen=True)
class StepTime:
    """The median `seconds` of a step, what was computed in it, and the process's peak memory meanwhile."""

    length: int
    prune: float
    flops: float
    seconds: float
    peak_bytes: int


def measure_steps(model: str, on_step: Callable[[StepTime], None]) -> list[StepTime]:
    """Train on random tokens, half of them with a loss; `on_step` is told of every size as it is done.

    Raises:
        InputError: there is no such model.
    """
    base, lora = load_base(model).model, Lora()
    full = model_shape(base, lora)
    adapter = initial_adapter(full, 0)
    found = []
    for length in (each for each in LENGTHS if each <= (full.positions or each)):
        work = Workload(ROWS, length, length - length // 2)
        path = build_path(full, Importance.equal(full), "depth", work)
        tokens = generator(0, "profile", length).integers(0, full.vocabulary, (ROWS, length))
        batch = _batch(torch.from_numpy(tokens))
        for prune in RATES:
            reduction = path.reduction(prune)
            submodel = build_submodel(base, full, reduction, lora)
            load_adapter(submodel, slice_adapter(adapter, full, reduction))
            _forget_peak()
            ticks: list[float] = []
            train(submodel, _ticking(batch, ticks), 1e-4)
            # The first step warms up: libraries choose kernels, memory is claimed.
            seconds = float(np.median(np.diff(ticks)[1:]))
            flops = reduction.step_flops(full, work)
            found.append(StepTime(length, path.snapped(prune), flops, seconds, _peak_bytes()))
            on_step(found[-1])
    return found


def total_memory() -> int:
    """Bytes of memory that training could use: the GPU's where there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _batch(tokens: torch.Tensor) -> Batch:
    labels = tokens.clone()
    labels[:, : tokens.shape[1] // 2] = NO_LABEL
    return Batch(tokens, torch.ones_like(tokens), labels)


def _ticking(batch: Batch, ticks: list[float]) -> Iterator[Batch]:
    """The batch again and again; `ticks` gets the time before every step and after the last."""
    for _ in range(1 + REPEATS):
        ticks.append(time.perf_counter())
        yield batch
    ticks.append(time.perf_counter())


def _forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    """Since `_forget_peak`; since the process began where neither CUDA nor Linux tells more."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
