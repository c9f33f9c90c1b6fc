"""What a training step costs: our kernels against PEFT with transformers' Trainer, and sub-models.

    python benchmarks/training.py >> training.jsonl       # 8 minutes on two cores

SmolLM2-135M learns problems of gsm_symbolic from the same batches and from the same adapter, whatever the
variant. Batches are padded to their longest row; but in `trainer-default`, which is Trainer as its tutorial
has it (padding="max_length"), to the longest text allowed. Every measurement is a process of its own;
variants take turns, `--repeats` times. Prints one JSON object a variant: medians over the repeats of the
mean step (the first is left out), tokens (padding not counted) a second, peak memory (of the GPU's tensors,
or else of the process), FLOPs and time over those of the full model, and the loss on other problems
afterwards.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROWS, HELD_OUT, RATE = 4, 16, 5e-4
LONGEST = 384
TRAINERS = ("trainer-default", "trainer-float32", "trainer-bf16")
RATES = (0.3, 0.6, 0.9)


def measure(model: str, variant: str, reduction: str, prune: float, steps: int) -> dict[str, float]:
    """One training of so many steps; runs in a process of its own."""
    from airtune.learning.evaluation import evaluate
    from airtune.learning.models import base_path, load_base
    from airtune.learning.tasks import load_task
    from airtune.learning.tokens import batches, encode
    from airtune.pruning.adapters import initial_adapter
    from airtune.pruning.submodel import model_shape
    from airtune.randomness import generator
    from airtune.scenario import Lora, Task

    base = load_base(model)
    data = load_task(Task(train_examples=steps * ROWS, test_examples=HELD_OUT), 0)
    train, test = ([encode(one, base.tokenizer, LONGEST) for one in part] for part in (data.train, data.test))
    pad = base.tokenizer.pad_token_id
    chosen = list(batches(train, ROWS, steps, generator(0, "benchmark"), pad))
    full = model_shape(base.model, Lora())
    adapter = initial_adapter(full, 0)
    if variant in TRAINERS:
        given = [padded(batch, LONGEST, pad) for batch in chosen] if variant == TRAINERS[0] else chosen
        trained, seconds = train_with_trainer(base_path(model), variant == "trainer-bf16", adapter, given)
        share = 1.0
    else:
        trained, seconds, share = train_with_airtune(base.model, full, adapter, chosen, reduction, prune)
    tokens = sum(int(batch.attention_mask.sum()) for batch in chosen[1:])
    return {
        "tokens_per_s": tokens / sum(seconds),
        "step_s": float(np.mean(seconds)),
        "peak_mb": peak_mb(),
        "flops_share": share,
        "loss": evaluate(trained, test, pad).mean(),
    }


def padded(batch: Any, length: int, pad: int) -> Any:
    """The batch with every row `length` tokens long."""
    import torch

    from airtune.learning.tokens import NO_LABEL, Batch

    more = (0, length - batch.input_ids.shape[1])
    fill = torch.nn.functional.pad
    return Batch(
        fill(batch.input_ids, more, value=pad),
        fill(batch.attention_mask, more),
        fill(batch.labels, more, value=NO_LABEL),
    )


def train_with_airtune(base, full, adapter, chosen, reduction, prune) -> tuple[Any, list[float], float]:
    """The trained sub-model, the seconds of every step but the first, its FLOPs over the full model's."""
    from airtune.costs.count import Workload, step_flops
    from airtune.learning.training import train
    from airtune.pruning.adapters import slice_adapter
    from airtune.pruning.path import Importance, build_path
    from airtune.pruning.submodel import build_submodel, load_adapter
    from airtune.scenario import Lora

    rows, length = chosen[0].input_ids.shape
    path = build_path(full, Importance.equal(full), reduction, Workload(rows, length, length / 2))
    kept = path.reduction(prune)
    model = build_submodel(base, full, kept, Lora())
    load_adapter(model, slice_adapter(adapter, full, kept))
    ticks: list[float] = []

    def timed() -> Iterator[Any]:
        for batch in chosen:
            ticks.append(time.perf_counter())
            yield batch
        ticks.append(time.perf_counter())

    work = train(model, timed(), RATE).work[1:]
    share = sum(step_flops(kept.shape(full), step) for step in work) / sum(
        step_flops(full, step) for step in work
    )
    return model, list(np.diff(ticks)[1:]), share


def train_with_trainer(path, bf16, adapter, chosen) -> tuple[Any, list[float]]:
    """The same with PEFT and transformers' Trainer, which loads the model in float32."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

    from airtune.pruning.submodel import load_adapter
    from airtune.scenario import Lora

    lora = Lora()
    settings = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.projections), task_type="CAUSAL_LM"
    )
    base = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    model = get_peft_model(base, settings)
    load_adapter(base, adapter)
    ticks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_args: Any, **_more: Any) -> None:
            ticks.append(time.perf_counter())

    class Batches(torch.utils.data.IterableDataset):
        def __iter__(self) -> Iterator[dict[str, Any]]:
            return (vars(batch) for batch in chosen)

    with tempfile.TemporaryDirectory() as folder:
        # What is set beside bf16 makes it the same training; nothing is set that costs time.
        arguments = TrainingArguments(
            folder,
            bf16=bf16,
            use_cpu=not torch.cuda.is_available(),
            per_device_train_batch_size=1,
            max_steps=len(chosen),
            learning_rate=RATE,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        Trainer(model, arguments, lambda one: one[0], Batches(), callbacks=[Clock()]).train()
    return base.eval(), list(np.diff(ticks))


def main() -> None:
    """Let all variants take turns, then print their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="of each training; the first is not timed")
    parser.add_argument("--rates", type=float, nargs="*", default=RATES)
    parser.add_argument("--without-trainer", action="store_true")
    chosen = parser.parse_args()
    variants = [("airtune", "none", 0.0)]
    variants += [] if chosen.without_trainer else [(trainer, "none", 0.0) for trainer in TRAINERS]
    variants += [("airtune", kind, prune) for kind in ("depth", "width") for prune in chosen.rates]
    found: dict[tuple[str, str, float], list[dict[str, float]]] = {variant: [] for variant in variants}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for _ in range(chosen.repeats):
            for variant in variants:
                name, kind, prune = variant
                kind = "depth" if kind == "none" else kind
                training = pool.submit(measure, chosen.model, name, kind, prune, chosen.steps)
                found[variant].append(training.result())
    for variant, results in found.items():
        medians = {key: float(np.median([result[key] for result in results])) for key in results[0]}
        # The full model beside it in the same turn: the machine's mood cancels.
        turns = zip(results, found[variants[0]], strict=True)
        medians["time_share"] = float(np.median([one["step_s"] / other["step_s"] for one, other in turns]))
        row = dict(zip(("variant", "reduction", "prune"), variant, strict=True))
        row |= {key: round(value, 4) for key, value in medians.items()}
        print(json.dumps(row | machine()), flush=True)


def peak_mb() -> float:
    """The most that tensors took on a GPU, or else the process in memory."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> dict[str, Any]:
    """The GPU, or else the cores that may be used; and the processor's name as Linux has it."""
    import torch

    if torch.cuda.is_available():
        return {"processor": torch.cuda.get_device_name()}
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return {"cores": len(os.sched_getaffinity(0)), "processor": next(names, platform.processor())}


if __name__ == "__main__":
    main()
