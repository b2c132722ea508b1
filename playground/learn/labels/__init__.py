"""Learning from labels: data sets, objectives, fine-tuning of prompt-level routers and their versions."""
