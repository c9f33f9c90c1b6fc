"""Which layout a model's blocks have, found by looking at its layers; one of no known layout is refused."""

from collections.abc import Iterator, Mapping

from torch import nn

from airtune.costs.layouts import LAYOUTS, Layout
from airtune.errors import InputError, words


def find_layout(model: nn.Module) -> Layout:
    """The layout of a causal language model's blocks.

    Raises:
        InputError: a part is missing, or there is one that a sub-model would not know how to make smaller.
    """
    modules = dict(model.named_modules())
    for layout in LAYOUTS.values():
        blocks = modules.get(layout.blocks)
        if isinstance(blocks, nn.ModuleList) and len(blocks) > 0:
            for complaint in _complaints(blocks, layout):
                parts = ", ".join(projection.path for projection in layout.projections)
                raise _refusal(
                    model, complaint, f"blocks of {parts}, and norms of hidden states or single heads"
                )
            return layout
    places = " or ".join(layout.blocks for layout in LAYOUTS.values())
    raise _refusal(model, f"without {places}", "a decoder's blocks there")


def dense_sizes(layer: nn.Module | None) -> tuple[int, int] | None:
    """Inputs and outputs of a dense layer, be it torch's Linear or GPT-2's Conv1D; None of any other."""
    from transformers.pytorch_utils import Conv1D

    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    if isinstance(layer, Conv1D):
        return layer.nx, layer.nf
    return None


def unit_widths(sizes: Mapping[str, tuple[int, int]], layout: Layout) -> dict[str, int]:
    """How many coordinates of each kind a block has, from the sizes of its projections by path."""
    queries, hidden = sizes[layout.reading("queries").path]
    neurons, _ = sizes[layout.reading("neurons").path]
    attention = [projection for projection in layout.projections if projection.stage == 0]
    written = sum(sizes[projection.path][1] for projection in attention)
    values = (written - queries) // 2
    return {"hidden": hidden, "queries": queries, "values": values, "neurons": neurons}


def _complaints(blocks: nn.ModuleList, layout: Layout) -> Iterator[str]:
    """What in the blocks differs from the layout, from the first block to the last."""
    widths: dict[str, int] = {}
    for number, block in enumerate(blocks):
        at = f"{layout.blocks}[{number}]"
        modules = dict(block.named_modules())
        sizes = {}
        for projection in layout.projections:
            found = dense_sizes(modules.get(projection.path))
            if found is None:
                yield f"without a dense layer {at}.{projection.path}"
                return
            sizes[projection.path] = found
        widths = widths or unit_widths(sizes, layout)
        for projection in layout.projections:
            inputs, outputs = widths[projection.reads], sum(widths[units] for units in projection.writes)
            if sizes[projection.path] != (inputs, outputs):
                yield f"with {at}.{projection.path} not of {inputs} x {outputs}"
        yield from _attention_complaints(modules, widths, layout, at)
        yield from _other_complaints(block, modules, widths, layout, at)


def _attention_complaints(
    modules: Mapping[str, nn.Module], widths: Mapping[str, int], layout: Layout, at: str
) -> Iterator[str]:
    """Heads that do not divide queries and values, or queries, keys and values fused in another way."""
    path = layout.reading("queries").path.rpartition(".")[0]
    head_dim = getattr(modules[path], "head_dim", None)
    values, queries = widths["values"], widths["queries"]
    if not head_dim or values < head_dim or values % head_dim or queries % values:
        yield f"with {at}.{path} whose heads are not understood"
    fused = any(len(projection.writes) > 1 for projection in layout.projections)
    if fused and getattr(modules[path], "split_size", None) != queries:
        yield f"with {at}.{path} whose queries, keys and values are not of one size"


def _other_complaints(
    block: nn.Module, modules: Mapping[str, nn.Module], widths: Mapping[str, int], layout: Layout, at: str
) -> Iterator[str]:
    """Other weights than norms over what no sub-model makes smaller: hidden coordinates or one head."""
    projections = {projection.path for projection in layout.projections}
    attention, mlp = (layout.reading(units).path.rpartition(".")[0] for units in ("queries", "neurons"))
    for name, parameter in block.named_parameters():
        module = name.rpartition(".")[0]
        inside = f"{module}."
        width = modules[attention].head_dim if inside.startswith(f"{attention}.") else widths["hidden"]
        if module not in projections and (parameter.shape != (width,) or inside.startswith(f"{mlp}.")):
            yield f"with {at}.{name}"


def _refusal(model: nn.Module, complaint: str, expected: str) -> InputError:
    return InputError("scenario", "model.name", words(f"{type(model).__name__} {complaint}"), expected)
