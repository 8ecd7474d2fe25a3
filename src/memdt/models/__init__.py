"""Policies, found by the name of their file; see ``interface`` for what a model must offer."""

INFRASTRUCTURE = (
    "interface", "geometry", "attention", "attention_pieces", "transformer", "encoders",
    "convolutions", "memory_update", "segment_transformer", "working_memory", "adapters",
    "hyper_network",
)  # fmt: skip
