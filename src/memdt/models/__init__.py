"""Policies, found by the name of their file; see ``interface`` for what a model must offer."""

INFRASTRUCTURE = (
    "interface", "attention", "transformer", "encoders", "memory_update", "segment_transformer",
)  # fmt: skip
