"""Turns a GGUF file into an ordinary model folder (safetensors and tokenizer) that loads in under two seconds.

Apart from `artefacts`, so that looking for the model or downloading it imports neither torch nor transformers.
"""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from playground.errors import ArtefactError

# Left on a model that came from a GGUF file. They make PEFT and `save_pretrained` believe that it is still quantised.
LEFT_OVER = ("hf_quantizer", "is_quantized", "quantization_method")


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the model of `gguf` to `folder` in bfloat16. Takes about 15 s for 135M parameters.

    Raises ArtefactError when transformers cannot read the file, OSError when the disk refuses.
    """
    source = {"gguf_file": gguf.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), **source)
        model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), dtype=torch.bfloat16, **source)
    except (ValueError, KeyError, ImportError, RuntimeError) as error:
        raise ArtefactError(
            f"{gguf.name} could not be converted: {error}", "Install the versions pinned in requirements.txt."
        ) from error
    for holder, names in ((model, LEFT_OVER), (model.config, ("quantization_config",))):
        for name in names:
            if name in vars(holder):
                delattr(holder, name)
    model.config.architectures = ["LlamaForCausalLM"]  # GGUF does not say; `transformers serve` asks
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
