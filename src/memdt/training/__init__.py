"""Training: curriculum stages, one job each."""
