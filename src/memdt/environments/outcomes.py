"""Outcomes of an episode besides its return. Every plan imports this, so it imports nothing."""

from __future__ import annotations

# Each outcome, in the order of the columns, with the function of a module that provides it.
OUTCOMES = {"success": "success", "score": "score_range"}
