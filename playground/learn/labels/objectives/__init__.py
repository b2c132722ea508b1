"""What can be optimised on labels. Importing this package registers every objective."""

from playground.learn.labels.objectives import dpo, bt  # isort: skip  (the default first: menus list them in this order)
from playground.learn.labels.objectives.base import OBJECTIVES, Objective, ObjectiveOptions, ObjectiveSpec, objective

__all__ = ["OBJECTIVES", "Objective", "ObjectiveOptions", "ObjectiveSpec", "bt", "dpo", "objective"]
