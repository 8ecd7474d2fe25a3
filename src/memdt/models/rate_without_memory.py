"""RATE-: RATE trained over segments without memory tokens, with the same cache as RATE.

Source: RATE section 4.3 (Table 3) and appendix D.3.
"""

from __future__ import annotations

from memdt.models.transformer_xl import Settings, build

__all__ = ["Settings", "build"]
