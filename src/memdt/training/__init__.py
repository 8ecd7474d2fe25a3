"""Training: one job for each curriculum stage."""
