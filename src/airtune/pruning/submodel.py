"""A physically smaller model: sliced dense layers, fast kernels, adapters; only the trained ones learn."""

import copy
import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from peft import LoraConfig
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.errors import InputError
from airtune.learning.decoder import dense_sizes, find_layout, unit_widths
from airtune.learning.dense_change import DenseChange
from airtune.learning.fused import LoraLinear, fuse
from airtune.pruning.adapters import Adapter, Index, kept_coordinates, units_kept
from airtune.pruning.compensation import compensate
from airtune.pruning.path import Reduction
from airtune.scenario import Lora


def model_shape(model: nn.Module, lora: Lora) -> ModelShape:
    """The shape of a model, read from its layers.

    Raises:
        InputError: its blocks are not understood, or none of their layers is to carry an adapter.
    """
    layout = find_layout(model)
    blocks = model.get_submodule(layout.blocks)
    paths = [projection.path for projection in layout.projections]
    widths = unit_widths({path: dense_sizes(blocks[0].get_submodule(path)) for path in paths}, layout)
    attention = layout.reading("queries").path.rpartition(".")[0]
    head_dim = blocks[0].get_submodule(attention).head_dim
    norms = {name.rpartition(".")[0] for name, _ in blocks[0].named_parameters()} - set(paths)
    head_norms = {name for name in norms if name.startswith(f"{attention}.")}
    embeddings = {module for module in model.modules() if isinstance(module, nn.Embedding)}
    shape = ModelShape(
        hidden=widths["hidden"],
        vocabulary=model.lm_head.out_features,
        embeddings=1 if model.lm_head.weight is model.get_input_embeddings().weight else 2,
        head_dim=head_dim,
        heads_per_group=widths["queries"] // widths["values"],
        rank=0 if lora.rank == "full" else lora.rank,
        projections=tuple(lora.projections),
        kv_groups=np.full(len(blocks), widths["values"] // head_dim),
        neurons=np.full(len(blocks), widths["neurons"]),
        layout=layout,
        positions=sum(module.num_embeddings for module in embeddings - {model.get_input_embeddings()}),
        norms=len(norms - head_norms),
        head_norms=bool(head_norms),
        train_a=lora.train_a,
    )
    if not shape.adapted:
        known = ", ".join(name for projection in layout.projections for name in projection.names)
        raise InputError("scenario", "lora.projections", list(lora.projections), f"one of {known}")
    return shape


def lora_config(full: ModelShape, lora: Lora) -> LoraConfig:
    """PEFT's configuration of our adapters on a model of shape `full`."""
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=[projection.path for projection in full.adapted],
        fan_in_fan_out=full.layout.weights_are_transposed,
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
    for number, block in enumerate(submodel.get_submodule(full.layout.blocks)):
        if (smaller.kv_groups[number], smaller.neurons[number]) == (
            full.kv_groups[number],
            full.neurons[number],
        ):
            continue
        kept = units_kept(full, reduction, number)
        for projection in full.layout.projections:
            place, _, name = projection.path.rpartition(".")
            parent = block.get_submodule(place)
            outputs, inputs = kept_coordinates(full, kept, number, projection)
            setattr(parent, name, _sliced(getattr(parent, name), outputs, inputs))
            if len(projection.writes) > 1:
                parent.split_size = len(kept["queries"])  # where a fused projection's parts begin
    compensate(submodel, base, full, reduction)
    fuse(submodel)
    for block in submodel.get_submodule(full.layout.blocks):
        for projection in full.adapted:
            place, _, name = projection.path.rpartition(".")
            parent = block.get_submodule(place)
            dense = getattr(parent, name)
            # The first part of an adapter counts as it does in the whole, whatever its own rank.
            alpha = lora.alpha if lora.rank == "full" else lora.alpha * smaller.rank / lora.rank
            adapter = DenseChange(dense) if lora.rank == "full" else LoraLinear(dense, smaller.rank, alpha)
            setattr(parent, name, adapter)
    for name, parameter in submodel.named_parameters():
        if ".lora_" in name or ".change." in name:
            trained = _layer_of(name, full) >= reduction.first_trained
            parameter.requires_grad_(trained and full.changes(name))
    return submodel


def load_adapter(submodel: nn.Module, adapter: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Give a sub-model's adapters their values, in float32 whatever the base's dtype."""
    device = submodel.lm_head.weight.device
    modules = _adapter_modules(submodel)
    # One transfer: to a GPU each of them takes as long as a good part of a training step.
    whole = torch.from_numpy(np.concatenate([adapter[name].ravel() for name in modules])).to(device)
    parts = whole.split([adapter[name].size for name in modules])
    for (name, module), part in zip(modules.items(), parts, strict=True):
        values = part.reshape(adapter[name].shape).clone()
        module.weight = nn.Parameter(values, requires_grad=module.weight.requires_grad)


def read_adapter(submodel: nn.Module, trained_only: bool = True) -> Adapter:
    """The values of a sub-model's adapters, by default only of those it trains."""
    chosen = {
        name: module.weight.detach().float()
        for name, module in _adapter_modules(submodel).items()
        if module.weight.requires_grad or not trained_only
    }
    whole = torch.cat([values.flatten() for values in chosen.values()]).cpu().numpy()
    parts = np.split(whole, np.cumsum([values.numel() for values in chosen.values()])[:-1])
    return {
        name: part.reshape(tuple(values.shape)).copy()
        for (name, values), part in zip(chosen.items(), parts, strict=True)
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
    """The adapter layers by the name `ModelShape.adapter_shapes` gives their weight."""
    return {
        name.replace(".default", "") + ".weight": module
        for name, module in submodel.named_modules()
        if name.endswith((".lora_A.default", ".lora_B.default", ".change"))
    }


def _layer_of(name: str, full: ModelShape) -> int:
    return int(name.split(f"{full.layout.blocks}.")[1].split(".")[0])


def _sliced(dense: nn.Module, outputs: Index, inputs: Index) -> nn.Module:
    """A smaller dense layer, of the same kind, with some outputs or some inputs of `dense`."""
    is_linear = isinstance(dense, nn.Linear)
    weight = _chosen(dense.weight, outputs, 0 if is_linear else 1)
    weight = _chosen(weight, inputs, 1 if is_linear else 0)
    smaller = copy.copy(dense)
    smaller._parameters = {"weight": nn.Parameter(weight, requires_grad=False), "bias": None}
    if dense.bias is not None:
        smaller.bias = nn.Parameter(_chosen(dense.bias, outputs, 0), requires_grad=False)
    if is_linear:
        smaller.out_features, smaller.in_features = weight.shape
    else:
        smaller.nx, smaller.nf = weight.shape
    return smaller


def _chosen(tensor: torch.Tensor, index: Index, dimension: int) -> torch.Tensor:
    if isinstance(index, slice):
        return tensor.detach()
    return tensor.detach().index_select(dimension, torch.from_numpy(index).to(tensor.device))
