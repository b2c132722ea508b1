"""Emotion-Qwen: answer loss and the cross-entropy to the route (arXiv:2505.06685, third stage)."""

from collections.abc import Sequence

from playground.learn.gates.recipe import GatePlan, GateRecipe, gate_recipe
from playground.routers.gate.emotion_qwen import EmotionQwen

EMOTIONAL = ("emotion", "sentiment")


@gate_recipe("emotion_qwen")
class EmotionQwenRecipe(GateRecipe[EmotionQwen]):
    """The base owns all rows but those of the emotional experts."""

    plan = GatePlan(steps=16, own=0.3, rate=2e-2)

    def experts(self, installed: Sequence[str]) -> tuple[str, ...]:
        """Return the general route and the emotional ones."""
        return ("base", *EMOTIONAL)

    def owner(self, expert: str, task: str) -> str:
        """Return the emotional expert for its own rows, the base for all others."""
        return expert if expert in EMOTIONAL else "base"
