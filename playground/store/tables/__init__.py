"""Import every table of the database, which registers them all on SQLModel's metadata."""

from playground.store.tables.labels import ComparisonRow, LabelActRow, LabelAspectRow, RationaleRow
from playground.store.tables.people import ConsentRow, LabellerRow, SecretRow, SittingRow
from playground.store.tables.prompts import PoolRow, PromptRow
from playground.store.tables.runs import DecisionRow, RunRow, TraceRow
from playground.store.tables.training import (
    EvaluationRow,
    PromotionRow,
    RouterVersionRow,
    TrainingLabelRow,
    TrainingRunRow,
    VersionFileRow,
)

__all__ = [
    "ComparisonRow",
    "ConsentRow",
    "DecisionRow",
    "EvaluationRow",
    "LabelActRow",
    "LabelAspectRow",
    "LabellerRow",
    "PoolRow",
    "PromotionRow",
    "PromptRow",
    "RationaleRow",
    "RouterVersionRow",
    "RunRow",
    "SecretRow",
    "SittingRow",
    "TraceRow",
    "TrainingLabelRow",
    "TrainingRunRow",
    "VersionFileRow",
]
