"""RATE: memory tokens at both ends of a segment and cached hidden states. Source: RATE section 3.

Settings select the retention valve of the later version, memory at the start only, the
feed-forward layer and the gates of this project. See ``segment_transformer`` for the mask.
"""

from __future__ import annotations

from memdt.models.interface import Spaces
from memdt.models.parts.segment_transformer import SegmentTransformer, Settings

__all__ = ["Settings", "build"]


def build(settings: Settings, spaces: Spaces) -> SegmentTransformer:
    """Build a RATE policy."""
    return SegmentTransformer(settings, spaces)
