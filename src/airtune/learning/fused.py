"""A decoder that trains fast: adapters and known parts of its layers replaced by our own kernels.

A part is known by what it has and by what it computes, never by its name: a part that our kernel does not
reproduce stays as it is, so models of any family work, at worst without the speed.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from airtune.learning import attention
from airtune.learning.dense_change import weight_of
from airtune.learning.kernels import (
    GELU,
    GELU_TANH,
    SILU,
    Activation,
    GatedActivation,
    LoraProjection,
    RmsNorm,
)


class LoraLinear(nn.Module):
    """A frozen dense layer with a LoRA adapter; parameters have the names PEFT gives them.

    The adapter holds no values at first (device "meta").
    """

    def __init__(self, base_layer: nn.Module, rank: int, alpha: float) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.scale = alpha / rank
        outputs, inputs = weight_of(base_layer).shape
        self.lora_A = nn.ModuleDict({"default": nn.Linear(inputs, rank, bias=False, device="meta")})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, outputs, bias=False, device="meta")})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out)."""
        a, b = self.lora_A["default"].weight, self.lora_B["default"].weight
        return LoraProjection.apply(x, weight_of(self.base_layer), self.base_layer.bias, a, b, self.scale)


class FusedNorm(nn.Module):
    """An RMSNorm with a frozen weight, to which Gemma adds an `offset` of 1."""

    def __init__(self, norm: nn.Module, offset: float) -> None:
        super().__init__()
        weight = norm.weight
        self.weight = nn.Parameter(weight.detach() + offset, requires_grad=False) if offset else weight
        self.eps = norm.variance_epsilon if hasattr(norm, "variance_epsilon") else norm.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, width) to the same."""
        return RmsNorm.apply(x, self.weight, self.eps)


class FusedMlp(nn.Module):
    """down(activation(gate(x)) · up(x))."""

    def __init__(self, mlp: nn.Module, activation: Activation) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = mlp.gate_proj, mlp.up_proj, mlp.down_proj
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, hidden) to the same."""
        return self.down_proj(GatedActivation.apply(self.gate_proj(x), self.up_proj(x), self.activation))


Factory = Callable[[nn.Module], nn.Module]
NORMS: tuple[Factory, ...] = tuple(partial(FusedNorm, offset=offset) for offset in (0.0, 1.0))
MLPS: tuple[Factory, ...] = tuple(partial(FusedMlp, activation=one) for one in (SILU, GELU_TANH, GELU))


def fuse(model: nn.Module) -> None:
    """Replace, in place, the norms, MLPs and attention of a frozen model that our kernels reproduce.

    Adapters come afterwards: what a part computes can only be compared while all its weights have values.
    """
    chosen: dict[type[nn.Module], Factory | None] = {}
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            candidates = NORMS if _may_be_norm(part) else MLPS if _may_be_mlp(part) else ()
            if candidates and type(part) not in chosen:
                alike = (make for make in candidates if _compute_alike(part, make(part)))
                chosen[type(part)] = next(alike, None)
            make = chosen.get(type(part))
            if make is not None:
                setattr(parent, name, make(part))
    if _plain_attention(model):
        model.set_attn_implementation(attention.NAME)


def _may_be_norm(part: nn.Module) -> bool:
    parameters = dict(part.named_parameters())
    has_eps = hasattr(part, "variance_epsilon") or hasattr(part, "eps")
    return has_eps and parameters.keys() == {"weight"} and parameters["weight"].dim() == 1


def _may_be_mlp(part: nn.Module) -> bool:
    children = dict(part.named_children())
    projections = [children.pop(name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    return children.keys() == {"act_fn"} and all(isinstance(one, nn.Linear) for one in projections)


def _compute_alike(part: nn.Module, other: nn.Module) -> bool:
    """Whether two modules make the same of an input, up to rounding."""
    weight = next(part.parameters())
    x = torch.arange(6 * weight.shape[-1], device=weight.device).sin()
    with torch.no_grad():
        expected, found = (module(x.view(2, 3, -1).to(weight.dtype)) for module in (part, other))
    tolerance = 0.02 if weight.dtype.itemsize < 4 else 1e-4
    return torch.allclose(found, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def _plain_attention(model: nn.Module) -> bool:
    """Whether every attention is causal, scaled and nothing else: no cap on scores, no learned sinks."""
    config = model.config
    layers = [part for part in model.modules() if hasattr(part, "is_causal")]
    return (
        config._attn_implementation == "eager"
        and getattr(config, "attn_logit_softcapping", None) is None
        and bool(layers)
        and all(part.is_causal and hasattr(part, "scaling") and not hasattr(part, "sinks") for part in layers)
    )
