"""The element-wise and LoRA parts of a decoder, each as one autograd function.

What autograd builds from single operations keeps every intermediate result and casts each adapter's input to
float32. These compute in the base model's type, keep only what their own backward pass needs, and leave out
gradients that nobody asks for: a layer with nothing to train below it keeps nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

Tensor = torch.Tensor


@dataclass(frozen=True)
class Activation:
    """An element-wise function of x, and its gradient from (arrived, x)."""

    value: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


SILU = Activation(functional.silu, torch.ops.aten.silu_backward)
GELU, GELU_TANH = (
    Activation(
        partial(functional.gelu, approximate=kind),
        partial(torch.ops.aten.gelu_backward, approximate=kind),
    )
    for kind in ("none", "tanh")
)


class LoraProjection(torch.autograd.Function):
    """x Wᵀ + bias + scale · (x Aᵀ) Bᵀ, with W and bias frozen; (…, in) to (…, out).

    The adapters are held in float32 and rounded to x's type for the products; their gradients are float32.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        small_a, small_b = a.to(x.dtype), b.to(x.dtype)
        inner = (rows @ small_a.t()).mul_(scale)
        y = rows @ weight.t() if bias is None else torch.addmm(bias, rows, weight.t())
        torch.addmm(y, inner, small_b.t(), out=y)
        trains_a, trains_b = ctx.needs_input_grad[3:5]
        ctx.save_for_backward(
            rows if trains_a else None, weight, small_a, small_b, inner if trains_b else None
        )
        ctx.scale, ctx.adapter_type = scale, a.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, small_a, small_b, inner = ctx.saved_tensors
        wants_x, _, _, wants_a, wants_b, _ = ctx.needs_input_grad
        outer = gradient.reshape(-1, gradient.shape[-1])
        from_b = (outer @ small_b).mul_(ctx.scale) if wants_x or wants_a else None
        to_x = to_a = to_b = None
        if wants_x:
            to_x = outer @ weight
            to_x = torch.addmm(to_x, from_b, small_a, out=to_x).view(*gradient.shape[:-1], -1)
        if wants_a:
            to_a = (from_b.t() @ rows).to(ctx.adapter_type)
        if wants_b:
            to_b = (outer.t() @ inner).to(ctx.adapter_type)
        return to_x, None, None, to_a, to_b, None


class RmsNorm(torch.autograd.Function):
    """x / rms(x) · weight over the last dimension, with the weight frozen; the norm is taken in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.to(_wide(x.dtype))
        norm = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        inverse = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        normal = (wide * inverse).to(x.dtype)
        ctx.save_for_backward(normal, inverse, weight)
        return normal * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        normal, inverse, weight = ctx.saved_tensors
        scaled, wide = (gradient * weight).to(inverse.dtype), normal.to(inverse.dtype)
        along = torch.linalg.vecdot(scaled, wide)[..., None] / normal.shape[-1]
        return scaled.addcmul_(wide, along, value=-1).mul_(inverse).to(gradient.dtype), None, None


class GatedActivation(torch.autograd.Function):
    """activation(gate) · up. The activation is computed again in the backward pass instead of kept."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, activation: Activation) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.activation = activation
        return activation.value(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        to_gate = ctx.activation.gradient(gradient * up, gate)
        return to_gate, ctx.activation.value(gate).mul_(gradient), None


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The type of sums: at least float32."""
    return torch.promote_types(dtype, torch.float32)
