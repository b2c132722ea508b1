"""Training experts: recipes, the trainer, and the card that says what was done."""
