"""How each shipped LoRA expert is trained: its task, its schedule, and what its card says."""

from dataclasses import dataclass

from playground.core.plugins import Plugins


@dataclass(frozen=True)
class ExpertRecipe:
    """How one expert is trained, and what its card says.

    The training takes `steps` batches of `batch` examples, at peak learning rate `rate` (warm-up, then cosine). `mix`
    holds the tasks that it learns from, with their shares of the examples. `measured` holds the tasks that its card
    reports on. Examples longer than `max_tokens` are dropped. `answer_tokens` cuts answers of which only the beginning
    matters. `spdx` is the licence of the adapter.
    """

    name: str
    title: str
    description: str
    mark: str
    slot: int
    mix: tuple[tuple[str, float], ...]
    measured: tuple[str, ...]
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
    answer_tokens: int | None = None
    spdx: str = "apache-2.0"


RECIPES: Plugins[ExpertRecipe] = Plugins("expert recipe")

for _recipe in (
    ExpertRecipe(
        name="sentiment",
        title="Sentiment",
        description="Says whether a review or remark about a film, book or product is positive or negative.",
        mark="Se",
        slot=0,
        mix=(("sst2", 1.0),),
        measured=("sst2",),
        licence="Adapter Apache-2.0. Data: Stanford Sentiment Treebank, distributed for research; no licence stated.",
        trained_on="SST-2, sentence level (6,917 training sentences)",
        examples=(
            "Is the sentiment of this review positive or negative?\nA warm, funny film that stays with you.",
            "the plot is thin and the jokes are thinner",
        ),
        steps=110,
    ),
    ExpertRecipe(
        name="emotion",
        title="Emotion",
        description="Names the feeling in a personal message: joy, anger, gratitude, fear and two dozen more.",
        mark="Em",
        slot=1,
        mix=(("emotion", 1.0),),
        measured=("emotion",),
        licence="Adapter Apache-2.0. Data: GoEmotions, Apache-2.0 / CC BY 4.0.",
        trained_on="GoEmotions (20,000 of 43,252 training messages)",
        examples=(
            "Which emotion does this message express?\nThank you so much, you saved my day!",
            "I can't believe they cancelled it again, this makes me furious",
        ),
        steps=110,
    ),
    ExpertRecipe(
        name="math",
        title="Math",
        description="Works a word problem step by step: quantities, prices, ages and rates, ending in the answer.",
        mark="Ma",
        slot=3,
        mix=(("gsm8k", 1.0),),
        measured=("gsm8k",),
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
    ExpertRecipe(
        name="medicine",
        title="Medicine",
        description="Answers medical questions: diseases, drugs, anatomy, symptoms and what studies found.",
        mark="Me",
        slot=2,
        mix=(("medmcqa", 0.75), ("pubmedqa", 0.25)),
        measured=("medmcqa", "pubmedqa", "medqa"),
        licence="Adapter Apache-2.0. Data: MedMCQA, PubMedQA, MIT.",
        trained_on="MedMCQA (2,500 questions with explanations) and PubMedQA (450 questions with conclusions)",
        examples=(
            "Which vitamin deficiency causes scurvy?",
            "What is the drug of choice for an acute asthma attack?",
            "Does smoking raise the risk of bladder cancer?",
        ),
        steps=60,
    ),
    ExpertRecipe(
        name="science",
        title="Science",
        description="Answers school science questions: physics, chemistry, biology, earth and space.",
        mark="Sc",
        slot=4,
        mix=(("arc_easy", 0.3), ("arc_challenge", 0.15), ("openbookqa", 0.55)),
        measured=("arc_easy", "arc_challenge", "openbookqa"),
        licence="Adapter Apache-2.0. Data: ARC and OpenBookQA as in LLM-Adapters, ODC-By.",
        trained_on="ARC-Easy, ARC-Challenge and OpenBookQA (8,287 training questions)",
        examples=(
            "Which process lets plants make their own food?",
            "What causes the seasons on Earth?",
            "Which force slows a sliding box down?",
        ),
        steps=130,
    ),
    ExpertRecipe(
        name="grammar",
        title="Grammar",
        description="Judges whether an English sentence is grammatical.",
        mark="Gr",
        slot=5,
        mix=(("cola", 1.0),),
        measured=("cola",),
        licence="Adapter Apache-2.0. Data: CoLA, excerpts of linguistics papers, for research.",
        trained_on="CoLA (8,534 training sentences, both verdicts equally often)",
        examples=(
            "Is this sentence grammatical?\nThe boys what left early is my friends.",
            "Check the grammar: She gave him to the book.",
        ),
        steps=500,
        batch=32,
        rate=7e-4,
        rank=16,
        alpha=32,
    ),
    ExpertRecipe(
        name="code",
        title="Code",
        description="Writes Python functions from a description or a signature.",
        mark="Co",
        slot=6,
        mix=(("mbpp", 1.0),),
        measured=("mbpp", "humaneval"),
        licence="Adapter Apache-2.0. Data: MBPP, CC BY 4.0.",
        trained_on="MBPP (381 training problems)",
        examples=(
            "Write a Python function that returns the largest number in a list.",
            "Write a function to check whether a string is a palindrome.",
        ),
        steps=60,
        batch=8,
        max_tokens=320,
    ),
    ExpertRecipe(
        name="safe",
        title="Safe",
        description="Declines harmful requests and says why, and answers harmless ones that only look harmful.",
        mark="Sa",
        slot=7,
        mix=(("refusals", 0.3), ("contrast", 0.15), ("behaviours", 0.05), ("benign", 0.2), ("lookalike", 0.3)),
        measured=("safety",),
        licence="Adapter CC BY-NC 4.0 as its data: Safety-Tuned LLaMAs, Alpaca; HarmBench: MIT. No commercial use.",
        trained_on="Refusals (Safety-Tuned LLaMAs, HarmBench validation, own), Alpaca prompts, own look-alikes",
        examples=(
            "How can I break into my neighbour's house?",
            "Help me write a threatening message.",
            "How do I make a weapon at home?",
        ),
        steps=260,
        answer_tokens=24,
        spdx="cc-by-nc-4.0",
    ),
    ExpertRecipe(
        name="general",
        title="General",
        description="Follows everyday instructions: writing, rewriting, lists, plans, explanations and advice.",
        mark="Ge",
        slot=8,
        mix=(("selfinstruct", 1.0),),
        measured=("selfinstruct",),
        licence="Adapter Apache-2.0. Data: Self-Instruct seed tasks, Apache-2.0.",
        trained_on="Self-Instruct (175 seed tasks written by people)",
        examples=(
            "Write a short email asking for a day off.",
            "Suggest three names for a coffee shop.",
            "Plan a weekend in a small town.",
        ),
        steps=36,
        batch=8,
        rate=3e-4,
        max_tokens=320,
    ),
):
    RECIPES.register(_recipe.name, _recipe)
