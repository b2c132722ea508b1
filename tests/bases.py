"""Tiny random base models of many architectures, and the page of what was found when they were tried.

`python -m tests.bases` tries them all and writes playground/docs/results/base-models.md.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from playground.errors import ArtefactError
from playground.model.bank import Bank
from playground.model.base import LanguageModel, Support
from playground.model.probe import references, support_of

PAGE = Path(__file__).resolve().parent.parent / "playground" / "docs" / "results" / "base-models.md"


_found: dict[str, Support] = {}


def architectures() -> dict[str, dict[str, Any]]:
    """Return the configuration of each architecture: the name of its class under "config", and the values."""
    found: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "bases.json").read_text("utf-8"))
    return found


def build(kind: str, tokenizer: Any) -> LanguageModel:
    """Return a random base of this architecture, with weights large enough that its answers vary."""
    values = architectures()[kind]
    texts = values.get("text_config", values)  # of a model that also reads pictures
    texts["vocab_size"] = len(tokenizer)
    torch.manual_seed(1)
    config = getattr(transformers, values.pop("config"))(**values)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            parameter.data.normal_(0, 0.08)
    return LanguageModel(model.eval().requires_grad_(False), tokenizer, kind, torch.float32)


def tried(base: LanguageModel) -> tuple[LanguageModel, Bank]:
    """Return the base with what was found when it was tried, and its bank. Raise ArtefactError when it is refused.

    Each architecture is tried once for all tests.
    """
    expected = None if base.name in _found else references(base)
    bank = Bank(base.model)
    if expected is not None:
        _found[base.name] = support_of(base, bank, expected)
    return replace(base, support=_found[base.name]), bank


def line(kind: str, tokenizer: Any) -> str:
    """Return the line of the page for one architecture."""
    try:
        base, _ = tried(build(kind, tokenizer))
    except ArtefactError as error:
        return f"| {kind} | refused | – | – | – | {error.message.partition(': ')[2]} |"
    support = base.support
    runs = "together" if support.batches else "one at a time"
    yes = {True: "yes", False: "no"}
    return f"| {kind} | {runs} | {yes[support.piece > 0]} | {yes[support.gates]} | {yes[support.attention]} | |"


def page(tokenizer: Any) -> str:
    """Return the page with the table of all architectures."""
    lines = [line(kind, tokenizer) for kind in architectures()]
    return "\n".join([HEAD, *lines, TAIL])


HEAD = """# Base models that were tried

| architecture | runs decode | long prompts in pieces | gates | attention | why |
| --- | --- | --- | --- | --- | --- |"""
TAIL = f"""
Each is a tiny random model of the architecture, with transformers {transformers.__version__}. "Together" and "one at
a time" both mean that a run has the tokens of the library's own `generate`, alone and beside another run. A refused
base says why at the start.

```bash
python -m tests.bases
```

## How it was tried

`PLAYGROUND_BASE_MODEL` may name any causal language model. Each start tries it as here, in about twenty passes. The
scores of four tokens are compared with those of `generate`: alone, with a run that joins and leaves, in pieces of eight
tokens, and with a gate that gives all weight to the base. Sliding windows are 16 tokens wide here, and the text is
longer. `tests/contract/test_bases.py` also compares 24 tokens of each, and an adapter with PEFT.

Runs of a base that keeps something else than keys and values, such as Mamba, decode one at a time. Its prompts are read
at once. Attention that the library computes in its own way for one architecture cannot be seen. GPT-2 has no linear
modules, so experts and gates cannot act there.
"""


def main() -> None:
    """Write the page."""
    import tempfile  # noqa: PLC0415  only here

    from tests.tiny import write_tiny_model  # noqa: PLC0415  only here

    with tempfile.TemporaryDirectory() as folder:
        tokenizer = AutoTokenizer.from_pretrained(write_tiny_model(Path(folder)))
    PAGE.write_text(page(tokenizer), encoding="utf-8")


if __name__ == "__main__":
    main()
