"""A tiny language model and tiny LoRA experts, random but seeded, made in a second and without any network."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from playground.settings import Settings

TINY = {"hidden": 48, "layers": 2, "heads": 4, "key_value_heads": 2}


def write_tiny_model(folder: Path) -> Path:
    """A Llama of 2 layers, 4 heads and width 48 with a byte-level tokenizer, in a folder `from_pretrained` reads."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE({token: i for i, token in enumerate(special + alphabet)}, [], unk_token=special[0])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=special[1],
        eos_token=special[2],
        pad_token=special[2],
        unk_token=special[0],
    )
    fast.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=TINY["hidden"],
        intermediate_size=96,
        num_hidden_layers=TINY["layers"],
        num_attention_heads=TINY["heads"],
        num_key_value_heads=TINY["key_value_heads"],
        max_position_embeddings=512,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def write_tiny_expert(folder: Path, name: str, slot: int, *, seed: int, rank: int = 2) -> Path:
    """A random LoRA expert for the tiny model, as an adapter folder with its card."""
    target = folder / name
    target.mkdir(parents=True)
    head = TINY["hidden"] // TINY["heads"]
    sizes = {
        "q_proj": TINY["hidden"],
        "k_proj": TINY["key_value_heads"] * head,
        "v_proj": TINY["key_value_heads"] * head,
    }
    sizes["o_proj"] = TINY["hidden"]
    maker = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(TINY["layers"]):
        for projection, out in sizes.items():
            at = f"base_model.model.model.layers.{layer}.self_attn.{projection}"
            weights[f"{at}.lora_A.weight"] = 0.3 * torch.randn(rank, TINY["hidden"], generator=maker)
            weights[f"{at}.lora_B.weight"] = 0.3 * torch.randn(out, rank, generator=maker)
    save_file(weights, target / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": [*sizes],
    }
    (target / "adapter_config.json").write_text(json.dumps(config))
    card = {
        "name": name,
        "title": name.title(),
        "description": f"Answers about {name}.",
        "mark": name[:2],
        "slot": slot,
    }
    (target / "card.json").write_text(json.dumps(card))
    return target


def tiny_installation(place: Path, model: Path, experts: Sequence[str]) -> Settings:
    """Return settings of an installation in `place` over the tiny model, with random experts of these names."""
    for slot, name in enumerate(experts):
        write_tiny_expert(place / "experts", name, slot, seed=slot)
    return Settings(
        _env_file=None,
        cache_dir=place / "cache",
        data_dir=place / "data",
        database_url="",
        experts_dir=place / "experts",
        base_model=str(model),
        threads=1,
        dtype="float32",
        adapters="",
        admin_password="",
    )
