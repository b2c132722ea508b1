"""How each shipped LoRA expert is trained: its task, its schedule, and what its card says."""

from dataclasses import dataclass

from playground.core.registry import Registry


@dataclass(frozen=True)
class Recipe:
    """`steps` of `batch` examples at peak learning rate `rate` (warm-up, then cosine); rank r, scale alpha / r.

    `example_rows` caps the training rows; `max_tokens` drops longer examples.
    """

    name: str
    title: str
    description: str
    mark: str
    slot: int
    task: str
    licence: str
    trained_on: str
    examples: tuple[str, ...]
    steps: int = 150
    batch: int = 16
    rate: float = 5e-4
    rank: int = 8
    alpha: int = 16
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    max_tokens: int = 256
    example_rows: int = 20_000


RECIPES: Registry[Recipe] = Registry("expert recipe")

for _recipe in (
    Recipe(
        name="sentiment",
        title="Sentiment",
        description="Says whether a review or remark about a film, book or product is positive or negative.",
        mark="Se",
        slot=0,
        task="sentiment",
        licence="Adapter Apache-2.0. Data: Stanford Sentiment Treebank, distributed for research; no licence stated.",
        trained_on="SST-2, sentence level (6,917 training sentences)",
        examples=(
            "Is the sentiment of this review positive or negative?\nA warm, funny film that stays with you.",
            "the plot is thin and the jokes are thinner",
        ),
        steps=110,
    ),
    Recipe(
        name="emotion",
        title="Emotion",
        description="Names the feeling in a personal message: joy, anger, gratitude, fear and two dozen more.",
        mark="Em",
        slot=1,
        task="emotion",
        licence="Adapter Apache-2.0. Data: GoEmotions, Apache-2.0 / CC BY 4.0.",
        trained_on="GoEmotions (20,000 of 43,252 training messages)",
        examples=(
            "Which emotion does this message express?\nThank you so much, you saved my day!",
            "I can't believe they cancelled it again, this makes me furious",
        ),
        steps=110,
    ),
    Recipe(
        name="math",
        title="Math",
        description="Works a word problem step by step: quantities, prices, ages and rates, ending in the answer.",
        mark="Ma",
        slot=3,
        task="math",
        licence="Adapter Apache-2.0. Data: GSM8K, MIT.",
        trained_on="GSM8K (7,473 training problems with worked solutions)",
        examples=(
            "Tom has 3 boxes with 12 pencils each and gives away 7 pencils. How many pencils are left?",
            "A train travels 60 km in 45 minutes. How far does it go in 3 hours?",
        ),
        steps=130,
        batch=8,
        max_tokens=320,
    ),
):
    RECIPES.register(_recipe.name, _recipe)
