"""RMT (RMDT): memory tokens only, without cached states or a retention valve.

Source: Bulatov et al. 2022; RATE section 2.2.
"""

from __future__ import annotations

from typing import Literal

from memdt.models.interface import Spaces
from memdt.models.parts import segment_transformer
from memdt.models.parts.segment_transformer import SegmentTransformer


class Settings(segment_transformer.Settings):
    """RATE's settings with the cache and the valve turned off."""

    cache_length: Literal[0] = 0
    memory_update: Literal["replace"] = "replace"


def build(settings: Settings, spaces: Spaces) -> SegmentTransformer:
    """Build an RMT policy."""
    return SegmentTransformer(settings, spaces)
