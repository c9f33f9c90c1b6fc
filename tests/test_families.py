"""Every family of models, by a tiny random member: sub-models, adapters, costs, files and a federated run."""

import copy
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from airtune import load_scenario, run
from airtune.costs.count import Workload, memory_bytes, step_flops
from airtune.costs.shapes import ModelShape
from airtune.errors import InputError
from airtune.learning.decoder import find_layout
from airtune.learning.evaluation import evaluate
from airtune.learning.local_data import test_set
from airtune.learning.loss import answer_losses
from airtune.learning.models import load_base, prepare
from airtune.learning.peft_format import save_adapter
from airtune.learning.tokens import Batch
from airtune.pruning.adapters import Adapter, average_over_holders, slice_adapter, units_kept
from airtune.pruning.path import Reduction
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape
from airtune.results.events import read_events
from airtune.scenario import Lora, Scenario

test_set.__test__ = False  # pytest would take the imported function for a test
TINY = Path(__file__).parents[1] / "examples" / "tiny.yaml"
LORA = Lora(rank=3, alpha=6)
BOTH = [LORA, Lora(rank="full")]
ROWS, LENGTH, LABELS = 3, 40, 12
FLASH = {  # torch's counter does not know them; what the backward pass computes again counts once
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda query, key, *_, **__: (
        4 * math.prod(query) * key[-2]
    ),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda _, query, key, *__, **___: (
        8 * math.prod(query) * key[-2]
    ),
}
ALIKE = {
    "vocab_size": 258,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "attn_implementation": "eager",
}
FAMILIES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**ALIKE, attention_bias=True, mlp_bias=True)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**ALIKE, sliding_window=8)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**ALIKE | {"hidden_size": 64}, tie_word_embeddings=True)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**ALIKE)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **ALIKE,
            sliding_window=8,
            query_pre_attn_scalar=16,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        )
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=258,
            n_positions=512,
            n_embd=48,
            n_layer=3,
            n_head=3,
            n_inner=80,
            bos_token_id=None,
            eos_token_id=1,
            attn_implementation="eager",
        )
    ),
}


def random_model(family: str) -> nn.Module:
    """A model without weights that happen to be zero or one, as fresh biases and norms are."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FAMILIES[family]().eval().requires_grad_(False)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture(params=FAMILIES, scope="module")
def base(request: pytest.FixtureRequest) -> nn.Module:
    return random_model(request.param)


def changed(scenario: Scenario, **changes: object) -> Scenario:
    return Scenario.model_validate(scenario.model_dump() | changes)


def random_adapter(full: ModelShape, seed: int) -> Adapter:
    numbers = np.random.default_rng(seed)
    return {
        name: numbers.normal(0, 0.1, shape).astype(np.float32) for name, _, _, shape in full.adapter_shapes()
    }


def random_reduction(full: ModelShape, seed: int, first_trained: int = 0) -> Reduction:
    numbers = np.random.default_rng(seed)
    neurons = numbers.random((full.layers, int(full.neurons[0]))) < 0.5
    groups = np.ones((full.layers, int(full.kv_groups[0])), dtype=bool)
    groups[numbers.integers(full.layers), numbers.integers(groups.shape[1])] = False
    neurons[:, 0] = True
    return Reduction(neurons, groups, first_trained)


def submodel(base: nn.Module, full: ModelShape, reduction: Reduction, adapter: Adapter) -> nn.Module:
    model = build_submodel(base, full, reduction, LORA if full.rank else Lora(rank="full"))
    load_adapter(model, slice_adapter(adapter, full, reduction))
    return model


def with_units_masked(model: nn.Module, full: ModelShape, reduction: Reduction) -> nn.Module:
    """The full model where the projections that read pruned units read zeros instead."""

    def mask(kept: np.ndarray, width: int):
        keep = torch.zeros(width)
        keep[torch.from_numpy(kept)] = 1
        return lambda _module, arguments: (arguments[0] * keep,)

    for layer in range(full.layers):
        kept = units_kept(full, reduction, layer)
        for units in ("queries", "neurons"):
            reader = model.get_submodule(full.module_path(layer, full.layout.reading(units)))
            reader.register_forward_pre_hook(mask(kept[units], int(full.width(units)[layer])))
    return model


def a_batch() -> Batch:
    tokens = torch.randint(2, 200, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    labels = tokens.clone()
    labels[:, : LENGTH - LABELS] = -100
    return Batch(tokens, torch.ones_like(tokens), labels)


@pytest.mark.parametrize("lora", BOTH)
def test_the_sub_model_is_the_full_model_with_units_masked(base: nn.Module, lora: Lora) -> None:
    full = model_shape(base, lora)
    reduction, adapter = random_reduction(full, 1), random_adapter(full, 2)
    smaller = submodel(base, full, reduction, adapter)
    masked = with_units_masked(submodel(base, full, Reduction.none(full), adapter), full, reduction)
    tokens = a_batch().input_ids
    expected = masked(input_ids=tokens).logits
    assert torch.allclose(smaller(input_ids=tokens).logits, expected, atol=1e-5 * float(expected.abs().max()))
    weights = sum(parameter.numel() for parameter in smaller.parameters())
    assert weights < 0.9 * sum(parameter.numel() for parameter in masked.parameters())


@pytest.mark.parametrize("lora", BOTH)
@given(seed=st.integers(0, 2**32), first_trained=st.integers(0, 2))
@settings(max_examples=20)
def test_what_goes_down_comes_back_to_its_place(
    base: nn.Module, lora: Lora, seed: int, first_trained: int
) -> None:
    full = model_shape(base, lora)
    reduction, adapter = random_reduction(full, seed, first_trained), random_adapter(full, 1)
    held = slice_adapter(adapter, full, reduction)
    expected = {name: shape for name, _, _, shape in reduction.shape(full).adapter_shapes()}
    assert {name: matrix.shape for name, matrix in held.items()} == expected
    trained = slice_adapter(adapter, full, reduction, trained_only=True)
    merged = average_over_holders(adapter, full, [(0.3, reduction, trained)])
    assert all(np.array_equal(merged[name], adapter[name]) for name in adapter)
    zeros = {name: np.zeros_like(matrix) for name, matrix in trained.items()}
    merged = average_over_holders(adapter, full, [(1.0, reduction, zeros)])
    moved = sum(int((merged[name] != adapter[name]).sum()) for name in adapter)
    assert moved == sum(matrix.size for matrix in trained.values())


@pytest.mark.parametrize("lora", BOTH)
def test_merging_follows_the_sub_model(base: nn.Module, lora: Lora) -> None:
    """A step on a sub-model is, merged, the masked full model's step: entries land where they came from."""
    full = model_shape(base, lora)
    reduction, adapter = random_reduction(full, 3), random_adapter(full, 4)
    gradients = []
    for model in (
        submodel(base, full, reduction, adapter),
        with_units_masked(submodel(base, full, Reduction.none(full), adapter), full, reduction),
    ):
        answer_losses(model, a_batch())[0].mean().backward()
        gradients.append(
            {
                name.replace(".default", ""): parameter.grad.numpy()
                for name, parameter in model.named_parameters()
                if parameter.requires_grad
            }
        )
    smaller, masked = gradients
    nothing = {name: np.zeros_like(matrix) for name, matrix in adapter.items()}
    merged = average_over_holders(nothing, full, [(1.0, reduction, smaller)])
    expected = average_over_holders(nothing, full, [(1.0, reduction, slice_adapter(masked, full, reduction))])
    assert all(np.allclose(merged[name], expected[name], atol=1e-6) for name in adapter)


def test_peft_loads_what_was_saved(base: nn.Module, tmp_path: Path) -> None:
    full = model_shape(base, LORA)
    adapter = random_adapter(full, 5)
    save_adapter(tmp_path, adapter, full, LORA, "somewhere")
    theirs = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path)
    ours = submodel(base, full, Reduction.none(full), adapter)
    tokens = a_batch().input_ids
    plain = base(input_ids=tokens).logits
    assert torch.allclose(theirs(input_ids=tokens).logits, ours(input_ids=tokens).logits, atol=1e-5)
    assert not torch.allclose(plain, ours(input_ids=tokens).logits, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lora", BOTH)
@pytest.mark.parametrize("first_trained", [0, 2])
def test_costs_are_those_torch_has(
    base: nn.Module, lora: Lora, first_trained: int, dtype: torch.dtype
) -> None:
    base = copy.deepcopy(base).to(dtype)
    full = model_shape(base, lora)
    reduction, adapter = random_reduction(full, 6, first_trained), random_adapter(full, 7)
    model, shape = submodel(base, full, reduction, adapter), reduction.shape(full)
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with FlopCounterMode(display=False, custom_mapping=FLASH) as counter:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            losses, _ = answer_losses(model, a_batch())
        losses.mean().backward()
    work = Workload(ROWS, LENGTH, LABELS)
    # Rotary embeddings are a small product that the count leaves out.
    assert step_flops(shape, work) == pytest.approx(counter.get_total_flops(), rel=5e-3)
    parameters = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    optimiser = sum(tensor.numel() * 12 for tensor in model.parameters() if tensor.requires_grad)
    logits = (4 if dtype == torch.float32 else 6) * ROWS * LABELS * full.vocabulary  # they come and go
    counted = memory_bytes(shape, work, dtype.itemsize)
    assert counted == pytest.approx(sum(kept.values()) + parameters + optimiser + logits, rel=0.05)


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_a_run_with_a_model_from_a_folder(family: str, tmp_path: Path) -> None:
    folder = shutil.copytree(prepare("tiny"), tmp_path / family)
    random_model(family).save_pretrained(folder)
    load_base.cache_clear()
    model = {"name": str(folder), "dtype": "float32"}
    scenario = changed(load_scenario(TINY), model=model, rounds=1, reduction="width")
    results = run(scenario, tmp_path / "run")
    events = read_events(results / "events.jsonl")
    assert events[1]["clients"][0]["prune"] > 0
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, results / "adapter").get_base_model()
    found = evaluate(theirs, test_set(scenario)[0], load_base(str(folder), "float32").tokenizer.pad_token_id)
    assert found.mean() == pytest.approx(events[1]["loss"], abs=1e-5)
    load_base.cache_clear()


def test_texts_longer_than_the_model_has_positions_are_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(prepare("tiny"), tmp_path / "gpt2")
    random_model("gpt2").save_pretrained(folder)
    task = load_scenario(TINY).task.model_dump() | {"max_tokens": 513}
    with pytest.raises(InputError, match=r"task.max_tokens: found 513, expected at most the 512 positions"):
        run(changed(load_scenario(TINY), model={"name": str(folder)}, task=task), tmp_path / "run")


def test_a_fused_projection_has_an_adapter_if_any_of_its_names_is_asked_for() -> None:
    model = random_model("gpt2")
    shape = model_shape(model, Lora(projections=("v_proj", "gate_proj")))
    assert [projection.path for projection in shape.adapted] == ["attn.c_attn"]
    with pytest.raises(InputError, match=r"lora.projections: found .* expected one of q_proj, k_proj"):
        model_shape(model, Lora(projections=("gate_proj",)))


def norms_over_all_queries() -> nn.Module:
    return Olmo2ForCausalLM(Olmo2Config(**{**ALIKE, "hidden_size": 32, "num_attention_heads": 2}))


def mixture_of_experts() -> nn.Module:
    return Qwen2MoeForCausalLM(Qwen2MoeConfig(**ALIKE, num_experts=2, moe_intermediate_size=8))


def cross_attention() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(vocab_size=10, n_embd=8, n_layer=1, n_head=2, add_cross_attention=True))


def layers_of_different_sizes() -> nn.Module:
    model = FAMILIES["llama"]()
    model.model.layers[2].mlp.up_proj = nn.Linear(48, 90)
    return model


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (
            norms_over_all_queries,
            r"with model.layers\[0\].self_attn.q_norm.weight, expected .* and norms",
        ),
        (mixture_of_experts, r"without a dense layer model.layers\[0\].mlp.gate_proj"),
        (cross_attention, r"with transformer.h\[0\].crossattention"),
        (layers_of_different_sizes, r"with model.layers\[2\].mlp.up_proj not of 48 x 80"),
    ],
)
def test_what_is_not_understood_is_named(make, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as error:
        find_layout(make())
    assert "\n" not in str(error.value)
