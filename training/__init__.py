"""What every training script shares: options from a recipe, the steps from faces to weights."""
