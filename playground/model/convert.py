"""Turn a GGUF file into an ordinary model folder (safetensors and tokenizer) that loads in under two seconds.

It is apart from `artefacts`, so that looking for the model or downloading it imports neither torch nor transformers.
"""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from playground.errors import ArtefactError

# A model from a GGUF file keeps these. PEFT and `save_pretrained` then take it for a quantised model.
LEFT_OVER = ("hf_quantizer", "is_quantized", "quantization_method")


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write the model of `gguf` to `folder` in bfloat16. This takes about 15 s for 135M parameters.

    Raise ArtefactError when transformers cannot read the file, OSError when the disk refuses.
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
    model.config.architectures = ["LlamaForCausalLM"]  # GGUF does not hold it, and `transformers serve` needs it
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
