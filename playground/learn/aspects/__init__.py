"""Weigh several aims against one another: a score for each aspect, a dial over them, and the Pareto front."""
