"""A physically smaller model: sliced dense layers, adapters injected, only the trained ones learning."""

import copy
import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from airtune.costs.shapes import ATTENTION, MLP, ModelShape
from airtune.pruning.adapters import Adapter, inner_side, units_kept
from airtune.pruning.path import Reduction
from airtune.scenario import Lora


def model_shape(model: nn.Module, lora: Lora) -> ModelShape:
    """The shape of a Llama-type model, read from its layers."""
    layers = model.model.layers
    attention = layers[0].self_attn
    groups = [layer.self_attn.k_proj.out_features // attention.head_dim for layer in layers]
    return ModelShape(
        hidden=model.lm_head.in_features,
        vocabulary=model.lm_head.out_features,
        embeddings=1 if model.lm_head.weight is model.get_input_embeddings().weight else 2,
        head_dim=attention.head_dim,
        heads_per_group=attention.q_proj.out_features // attention.k_proj.out_features,
        rank=lora.rank,
        projections=tuple(lora.projections),
        kv_groups=np.array(groups),
        neurons=np.array([layer.mlp.gate_proj.out_features for layer in layers]),
    )


def lora_config(lora: Lora) -> LoraConfig:
    """PEFT's configuration of our adapters."""
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=list(lora.projections),
        task_type="CAUSAL_LM",
    )


def build_submodel(base: nn.Module, full: ModelShape, reduction: Reduction, lora: Lora) -> nn.Module:
    """The sub-model that `reduction` keeps of `base`, with adapters on it; weights that stay are shared.

    The adapters hold no values yet: `load_adapter` gives them some. Layers below
    `reduction.first_trained` carry theirs frozen, so autograd stops above them.
    """
    tensors = itertools.chain(base.parameters(), base.buffers())
    submodel = copy.deepcopy(base, {id(tensor): tensor for tensor in tensors})
    submodel.requires_grad_(False)
    smaller = reduction.shape(full)
    for number, layer in enumerate(submodel.model.layers):
        if (smaller.kv_groups[number], smaller.neurons[number]) == (
            full.kv_groups[number],
            full.neurons[number],
        ):
            continue
        kept = units_kept(full, reduction, number)
        for projection in ATTENTION + MLP:
            block = layer.self_attn if projection in ATTENTION else layer.mlp
            unit, is_output = inner_side(projection)
            setattr(block, projection, _sliced(getattr(block, projection), kept[unit], is_output))
    inject_adapter_in_model(lora_config(lora), submodel, low_cpu_mem_usage=True)
    for name, parameter in submodel.named_parameters():
        if ".lora_" in name:
            parameter.requires_grad_(_layer_of(name) >= reduction.first_trained)
    return submodel


def load_adapter(submodel: nn.Module, adapter: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Give a sub-model's adapters their values, in float32 whatever the base's dtype."""
    device = submodel.lm_head.weight.device
    for name, module in _adapter_modules(submodel).items():
        values = torch.tensor(adapter[name], device=device)
        module.weight = nn.Parameter(values, requires_grad=module.weight.requires_grad)


def read_adapter(submodel: nn.Module, trained_only: bool = True) -> Adapter:
    """The values of a sub-model's adapters, by default only of those it trains."""
    return {
        name: module.weight.detach().float().cpu().numpy().copy()
        for name, module in _adapter_modules(submodel).items()
        if module.weight.requires_grad or not trained_only
    }


def read_gradient(submodel: nn.Module) -> Adapter:
    """The gradients of the trained adapters, under the adapters' names; zero where none arrived."""
    gradients = {}
    for name, module in _adapter_modules(submodel).items():
        if module.weight.requires_grad:
            gradient = module.weight.grad
            gradient = torch.zeros_like(module.weight) if gradient is None else gradient
            gradients[name] = gradient.float().cpu().numpy().copy()
    return gradients


def _adapter_modules(submodel: nn.Module) -> dict[str, nn.Module]:
    """The adapter layers by the name `costs.shapes.adapter_name` gives their weight."""
    return {
        name.replace(".default", "") + ".weight": module
        for name, module in submodel.named_modules()
        if ".lora_A.default" in name or ".lora_B.default" in name
    }


def _layer_of(name: str) -> int:
    return int(name.split("model.layers.")[1].split(".")[0])


def _sliced(linear: nn.Linear, kept: npt.NDArray[np.int64], is_output: bool) -> nn.Linear:
    """A smaller dense layer with the kept outputs (rows) or inputs (columns) of `linear`."""
    index = torch.from_numpy(kept).to(linear.weight.device)
    weight = linear.weight.detach().index_select(0 if is_output else 1, index).contiguous()
    bias = linear.bias
    smaller = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    smaller.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        smaller.bias = nn.Parameter(bias.detach()[index] if is_output else bias.detach(), requires_grad=False)
    return smaller
