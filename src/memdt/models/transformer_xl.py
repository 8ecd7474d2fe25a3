"""Transformer-XL: cached hidden states of the last segment, without memory tokens.

Source: Dai et al. 2019; RATE section 2.2.
"""

from __future__ import annotations

from typing import Literal

from memdt.models.interface import Spaces
from memdt.models.parts import segment_transformer
from memdt.models.parts.segment_transformer import SegmentTransformer


class Settings(segment_transformer.Settings):
    """RATE's settings with no memory tokens."""

    memory_tokens: Literal[0] = 0
    memory_update: Literal["replace"] = "replace"


def build(settings: Settings, spaces: Spaces) -> SegmentTransformer:
    """Build a Transformer-XL policy."""
    return SegmentTransformer(settings, spaces)
