"""Write the card of a data set of labels: what the Hub shows beside the files.

Source: the Hub's data set cards, "Dataset Cards" and their metadata.
"""

from collections import Counter
from collections.abc import Sequence

from playground.core.records import LabelRow

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
# the Hub reads all files of a data set by one loader, here that of JSON
FILES = {"default": "preferences.trlchat.jsonl", "battles": "battles.arena.json", "native": "labels.jsonl"}


def card_text(rows: Sequence[LabelRow], *, title: str, licence: str) -> str:
    """Return README.md of a data set: YAML metadata, then what was collected, how, and its limits.

    `licence` is a licence id of the Hub. The text holds counts only: no prompt, answer or name of a labeller.
    """
    choices = Counter(row.verdict.text for row in rows)
    experts = sorted({side.expert for row in rows for side in (row.a, row.b) if side.expert})
    days = sorted(row.created_at for row in rows)
    period = f"from {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}" if days else "no day yet"
    verdicts = "".join(f"| {text} | {count} |\n" for text, count in choices.most_common())
    sources = ", ".join(f"{source} {count}" for source, count in Counter(row.source for row in rows).most_common())
    return f"""{_metadata(rows, title, licence)}
# {title}

{len(rows)} preference labels of {len({row.labeller for row in rows})} labellers on \
{len({row.prompt for row in rows})} prompts, {period}.

| Configuration | Holds |
| --- | --- |
| `default` | pairs with a preferred answer, as conversations for TRL |
| `battles` | every comparison but skips, as Chatbot Arena has them |
| `native` | every label with all its columns |

## How the labels were collected

A labeller saw one prompt and two answers, in random order. {_blind(rows)} The sources are: {sources or "none"}.
Experts: {", ".join(f"`{name}`" for name in experts) or "none"}.

| Verdict | Labels |
| --- | --- |
{verdicts}
## Limits

- A label is the opinion of one person. Read the agreement between people before you train on it.
- Ties, "both are bad" and skips are not in `default`.
- Longer answers are often preferred for their length. Control for it.
- The answers were written by language models, and may be wrong or harmful.

## Personal data

Labellers are known by random handles. Prompts may hold what people typed. Ask the owner of this data set to remove
yours, and give your handle.

## Licence

The labels and prompts: {licence}. The answers come under the licences of the models that wrote them.
"""


def _blind(rows: Sequence[LabelRow]) -> str:
    seen = sum(row.revealed_before for row in rows)
    return f"In {seen} labels the labeller may have known who answered." if seen else "Nobody knew who had answered."


def _metadata(rows: Sequence[LabelRow], title: str, licence: str) -> str:
    size = next((name for limit, name in SIZES if len(rows) < limit), "n>1M")
    configs = "".join(f"- config_name: {name}\n  data_files: {file}\n" for name, file in FILES.items())
    return f"""---
pretty_name: {title!r}
license: {licence}
size_categories:
- {size}
tags:
- preference
- dpo
- routing
- human-feedback
configs:
{configs}---"""
