"""Measuring what routes and what answers: systems, scores, tables with intervals, prompts of two parts."""
