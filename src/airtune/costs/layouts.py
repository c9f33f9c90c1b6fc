"""How the blocks of a decoder are laid out: which dense layers they have, what these read and write.

Costs, adapters and sub-models go through a layout's projections one after the other, whatever the family.
A new family of decoders is a new entry here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Projection:
    """A dense layer of a block.

    `path` is where it is in the block, `names` what `lora.projections` calls it: a fused layer has several.
    It reads one kind of coordinates and writes others, a fused layer several one after the other:
    "hidden" (never pruned), "queries", "values" (of keys and of values) or "neurons". One side is "hidden".
    """

    path: str
    names: tuple[str, ...]
    reads: str
    writes: tuple[str, ...]

    @property
    def stage(self) -> int:
        """Its turn in the block. All of one stage read the same, made from what the stages before wrote."""
        if self.reads == "hidden":
            return 2 if "neurons" in self.writes else 0
        return 1 if self.reads == "queries" else 3


@dataclass(frozen=True)
class Layout:
    """The blocks at `blocks` of a model, each with an attention followed by an MLP.

    `kept_neurons` counts the vectors over neurons that the MLP's activation keeps for the backward pass
    beside the input of its last projection; `weights_are_transposed` says whether projections store theirs
    as (inputs, outputs).
    """

    name: str
    blocks: str
    projections: tuple[Projection, ...]
    kept_neurons: int
    weights_are_transposed: bool

    def reading(self, units: str) -> Projection:
        """The projection back to hidden coordinates that reads "queries" or "neurons"."""
        return next(projection for projection in self.projections if projection.reads == units)


# Llama, SmolLM2, Mistral, Qwen2, Qwen3, Gemma 3: queries, keys and values apart, gated MLP.
LLAMA = Layout(
    name="llama",
    blocks="model.layers",
    projections=(
        Projection("self_attn.q_proj", ("q_proj",), "hidden", ("queries",)),
        Projection("self_attn.k_proj", ("k_proj",), "hidden", ("values",)),
        Projection("self_attn.v_proj", ("v_proj",), "hidden", ("values",)),
        Projection("self_attn.o_proj", ("o_proj",), "queries", ("hidden",)),
        Projection("mlp.gate_proj", ("gate_proj",), "hidden", ("neurons",)),
        Projection("mlp.up_proj", ("up_proj",), "hidden", ("neurons",)),
        Projection("mlp.down_proj", ("down_proj",), "neurons", ("hidden",)),
    ),
    kept_neurons=2,  # gate and up
    weights_are_transposed=False,
)

# GPT-2: queries, keys and values from one matrix, MLP without gate, LayerNorm.
GPT2 = Layout(
    name="gpt2",
    blocks="transformer.h",
    projections=(
        Projection("attn.c_attn", ("q_proj", "k_proj", "v_proj"), "hidden", ("queries", "values", "values")),
        Projection("attn.c_proj", ("o_proj",), "queries", ("hidden",)),
        Projection("mlp.c_fc", ("up_proj",), "hidden", ("neurons",)),
        Projection("mlp.c_proj", ("down_proj",), "neurons", ("hidden",)),
    ),
    kept_neurons=4,  # GELU in single steps: its input, half of it, the tanh, the tanh plus one
    weights_are_transposed=True,
)

LAYOUTS = {layout.name: layout for layout in (LLAMA, GPT2)}
