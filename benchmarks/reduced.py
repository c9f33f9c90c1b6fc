"""Is a reduced client worth having? Six clients, three of them slow, after equal rounds; resumable.

    python benchmarks/reduced.py gsm8k --data FOLDER --out runs/reduced full:0 out:0 depth@0.6:0
    python benchmarks/reduced.py yahoo --data FOLDER --out runs/reduced examples@0.6:0 depth@0.6+damped:0

A variant is what the slow clients do, and its seed: all in full (`full`), nothing (`out`), or a reduction at
a share of the full step's cost (`depth@0.6`), with options: `damped` (a layer moves by the share of those who
trained it), `momentum=B` (of the server), `adam=F` (the server's step is FedAdam's, of length F), `rate=F`,
`weight=F` and `steps=F` (factors of the slow clients' learning rate, weight and number of steps), `distill=F`
(their loss is that share of the distance to the full model's predictions, and the rest of the usual one), and
`base=F` (a factor of everybody's learning rate).
GSM8K is drawn alike for all; of Yahoo! Answers the slow clients alone hold topics 6 to 10.

One JSON object a round goes to standard output and to OUT/rounds.jsonl; the losses of every test item, for
paired comparisons, to OUT/items/. With `--table`, prints a CSV of all that is there: the last round's loss
and its difference to `full` and to `out` on the same items, with 95 % intervals over items.
"""

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from airtune.costs.count import step_flops
from airtune.costs.shapes import ModelShape
from airtune.learning.evaluation import Evaluation, evaluate
from airtune.learning.local_data import round_batches, test_set
from airtune.learning.models import load_base
from airtune.learning.tokens import NO_LABEL, Batch
from airtune.learning.training import train
from airtune.pruning.adapters import Adapter, average_over_holders, initial_adapter, slice_adapter
from airtune.pruning.measured import measured_path
from airtune.pruning.path import Reduction
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape, read_adapter
from airtune.randomness import generator
from airtune.scenario import Scenario
from airtune.scenario_file import load_scenario

SLOW, CLIENTS = range(3), range(6)
STATE = ("adapter", "moment", "square")
BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Variant:
    """What the slow clients do: `reduction` at a `cost`, with `options`."""

    name: str
    reduction: str
    cost: float
    options: dict[str, float]
    seed: int

    @staticmethod
    def parse(text: str) -> "Variant":
        name, seed = text.rsplit(":", 1)
        reduction, *options = name.split("+")
        kind, _, cost = reduction.partition("@")
        pairs = (option.partition("=") for option in options)
        return Variant(
            name, kind, float(cost or 1), {key: float(value or 1) for key, _, value in pairs}, int(seed)
        )


@dataclass(frozen=True)
class Server:
    """The adapter, and the first and second moments of how it has moved."""

    adapter: Adapter
    moment: Adapter
    square: Adapter

    @staticmethod
    def start(adapter: Adapter) -> "Server":
        zeros = {name: np.zeros_like(matrix) for name, matrix in adapter.items()}
        return Server(adapter, zeros, zeros)

    def step(self, merged: Adapter, options: dict[str, float]) -> "Server":
        """To what clients agreed on; on from there by `momentum`, or FedAdam (Reddi et al., 2021)."""
        move = {name: merged[name] - self.adapter[name] for name in merged}
        if "adam" in options:
            moment = {name: 0.9 * self.moment[name] + 0.1 * move[name] for name in move}
            square = {name: 0.99 * self.square[name] + 0.01 * move[name] ** 2 for name in move}
            rate = options["adam"]
            move = {name: rate * moment[name] / (np.sqrt(square[name]) + 1e-4) for name in move}
        else:
            beta = np.float32(options.get("momentum", 0.0))
            moment = move = {name: beta * self.moment[name] + move[name] for name in move}
            square = self.square
        adapter = {name: (self.adapter[name] + move[name]).astype(np.float32) for name in move}
        return Server(adapter, moment, square)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("task", choices=["gsm8k", "yahoo"])
    parser.add_argument("variants", nargs="*", type=Variant.parse)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_intermixed_args()
    folder = chosen.out / chosen.task
    for variant in chosen.variants:
        scenario = load_scenario(Path(__file__).parent / "reduced" / f"{chosen.task}.yaml", data=chosen.data)
        play(scenario.model_copy(update={"seed": variant.seed}), variant, folder)
    if chosen.table:
        print_table(folder)


def play(scenario: Scenario, variant: Variant, folder: Path) -> None:
    """All rounds of one variant that are not on file yet."""
    state, items = folder / "state", folder / "items"
    for each in (state, items):
        each.mkdir(parents=True, exist_ok=True)
    label = f"{variant.name}-{variant.seed}"
    done = max((int(file.stem.rsplit("-", 1)[1]) for file in state.glob(f"{label}-*.npz")), default=0)
    base = load_base(scenario.model.name, scenario.model.dtype)
    full = model_shape(base.model, scenario.lora)
    adapter = initial_adapter(full, variant.seed)
    held = Server.start(adapter)
    if done:
        with np.load(state / f"{label}-{done}.npz") as stored:
            held = Server(*({name: stored[f"{part}/{name}"] for name in adapter} for part in STATE))
    small = reduction_at(scenario, variant, full)
    judge = build_submodel(base.model, full, Reduction.none(full), scenario.lora)
    load_adapter(judge, held.adapter)
    examples, labels = test_set(scenario)
    for number in range(done + 1, scenario.rounds + 1):
        merged = one_round(scenario, variant, small, full, held.adapter, judge, number)
        held = held.step(merged, variant.options)
        load_adapter(judge, held.adapter)
        found = evaluate(judge, examples, base.tokenizer.pad_token_id)
        of_item = np.array(labels)
        np.savez(items / f"{label}-{number}.npz", loss=found.loss, tokens=found.tokens, labels=of_item)
        whole: dict[str, Any] = {
            f"{part}/{name}": values[name] for part, values in vars(held).items() for name in values
        }
        np.savez(state / f"{label}-{number}.npz", **whole)
        (state / f"{label}-{number - 1}.npz").unlink(missing_ok=True)
        row = {"variant": variant.name, "seed": variant.seed, "round": number}
        line = json.dumps(row | losses(folder.name, found, of_item))
        print(line, flush=True)
        with (folder / "rounds.jsonl").open("a") as file:
            file.write(line + "\n")


def reduction_at(scenario: Scenario, variant: Variant, full: ModelShape) -> Reduction | None:
    """The largest sub-model that costs no more than the variant says (within 1 %); None for `out`."""
    if variant.reduction == "out":
        return None
    if variant.reduction == "full":
        return Reduction.none(full)
    measured = measured_path(scenario.model_copy(update={"reduction": variant.reduction}))
    whole = step_flops(full, measured.work)
    for prune in measured.path.prune:
        reduction = measured.path.reduction(float(prune))
        if reduction.step_flops(full, measured.work) / whole <= variant.cost + 0.01:
            return reduction
    raise SystemExit(f"{variant.name}: the smallest sub-model costs more")


def one_round(
    scenario: Scenario,
    variant: Variant,
    small: Reduction | None,
    full: ModelShape,
    adapter: Adapter,
    teacher: nn.Module,
    number: int,
) -> Adapter:
    """Train everybody who takes part and merge; `teacher` is the full model with `adapter`."""
    base = load_base(scenario.model.name, scenario.model.dtype)
    options, training = variant.options, scenario.training
    holders: list[tuple[float, Reduction, Adapter]] = []
    for client in CLIENTS:
        reduction = small if client in SLOW else Reduction.none(full)
        if reduction is None:
            continue
        submodel: nn.Module = build_submodel(base.model, full, reduction, scenario.lora)
        load_adapter(submodel, slice_adapter(adapter, full, reduction))
        own = options if client in SLOW else {}
        steps = round(training.steps * own.get("steps", 1.0))
        batches = round_batches(scenario, client, number, steps, reduction.examples)
        rate = training.learning_rate * options.get("base", 1.0) * own.get("rate", 1.0)
        if "distill" in own:
            train_towards(submodel, teacher, batches, rate, own["distill"])
        else:
            train(submodel, batches, rate)
        weight = own.get("weight", 1.0)
        holders.append((weight, reduction, read_adapter(submodel)))
    merged = average_over_holders(adapter, full, holders)
    if "damped" in options:
        everybody = sum(weight for weight, _, _ in holders)
        for name, layer, _, _ in full.adapter_shapes():
            held = sum(weight for weight, reduction, _ in holders if layer >= reduction.first_trained)
            merged[name] = adapter[name] + np.float32(held / everybody) * (merged[name] - adapter[name])
    return merged


def train_towards(
    submodel: nn.Module, teacher: nn.Module, batches: Iterable[Batch], rate: float, share: float
) -> None:
    """`train`, with `share` of the loss the divergence from the teacher's predictions of the same tokens."""
    parameters = [parameter for parameter in submodel.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    for batch in batches:
        with torch.no_grad():
            wanted, _ = predictions(teacher, batch)
        found, targets = predictions(submodel, batch)
        apart = nn.functional.kl_div(found, wanted, log_target=True, reduction="batchmean")
        loss = share * apart + (1 - share) * nn.functional.nll_loss(found, targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()


def predictions(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Logarithms of the next token's chances where there is an answer, and the token that comes."""
    device = next(model.parameters()).device
    labels = batch.labels[:, 1:].to(device)
    logits = model(input_ids=batch.input_ids.to(device), use_cache=False).logits[:, :-1]
    answer = labels != NO_LABEL
    return nn.functional.log_softmax(logits[answer].float(), -1), labels[answer]


def slow_items(task: str, labels: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """Test items like the slow clients' own text, where it is unlike the others'."""
    return np.isin(labels, ["6", "7", "8", "9", "10"]) & (task == "yahoo")


def losses(task: str, found: Evaluation, labels: npt.NDArray[np.str_]) -> dict[str, float]:
    row = {"loss": found.mean()}
    slow = slow_items(task, labels)
    if slow.any():
        row |= {"slow_loss": found.mean(slow), "fast_loss": found.mean(~slow)}
    return {key: round(value, 4) for key, value in row.items()}


def print_table(folder: Path) -> None:
    """The last round of every variant, against `full` and `out` of the same seed and base rate."""
    print("task,variant,seed,round,items,part,loss,minus_full,full_low,full_high,minus_out,out_low,out_high")
    last: dict[tuple[str, int], tuple[int, Path]] = {}
    for file in (folder / "items").glob("*.npz"):
        name, seed, played = file.stem.rsplit("-", 2)
        key, this = (name, int(seed)), (int(played), file)
        last[key] = max(last.get(key, this), this)
    for (variant, of_seed), (number, file) in sorted(last.items()):
        own = np.load(file)
        parts = {"all": np.ones(len(own["loss"]), bool)}
        slow = slow_items(folder.name, own["labels"])
        if slow.any():
            parts |= {"slow": slow}
        for part, chosen in parts.items():
            columns: list[Any] = [folder.name, variant, of_seed, number, int(chosen.sum()), part]
            columns.append(round(float(own["loss"][chosen].sum() / own["tokens"][chosen].sum()), 4))
            for other in ("full", "out"):
                reference = folder / "items" / f"{other}{base_rate(variant)}-{of_seed}-{number}.npz"
                columns += difference(own, np.load(reference), chosen) if reference.exists() else [""] * 3
            print(",".join(map(str, columns)))


def base_rate(variant: str) -> str:
    """The option of a variant that holds for everybody, and so for what it is compared with."""
    return "".join(f"+{option}" for option in variant.split("+") if option.startswith("base="))


def difference(own: Any, other: Any, chosen: npt.NDArray[np.bool_]) -> list[float]:
    """Difference of the mean loss a token, and its 95 % interval over items drawn anew."""
    apart = (own["loss"] - other["loss"])[chosen]
    tokens = own["tokens"][chosen]
    draws = generator(0, "bootstrap").integers(0, len(apart), (BOOTSTRAPS, len(apart)))
    means = apart[draws].sum(axis=1) / tokens[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return [round(float(value), 4) for value in (apart.sum() / tokens.sum(), low, high)]


if __name__ == "__main__":
    main()
