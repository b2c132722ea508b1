"""What a browser tab keeps of the comparison that it shows, over a reload. It says nothing about the sides."""

import json
from typing import Any


def pair_to_keep(comparison_id: str, prompt: str, votes: int = 0) -> str:
    """Return the text to keep. `votes` is how often this visitor voted on it and took the vote back."""
    return json.dumps({"id": comparison_id, "prompt": prompt, "votes": votes})


def kept_pair(kept: Any) -> tuple[str, str]:
    """Return (id, prompt) of the comparison that a browser kept. Both are empty when it kept none."""
    try:
        found = json.loads(str(kept or "{}"))
        return str(found["id"])[:26], str(found["prompt"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", ""
