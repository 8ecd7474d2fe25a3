"""What an environment may say of an episode beside its return; light, because every plan asks."""

from __future__ import annotations

# Each outcome, in the order of the columns, with the function of a module that makes it known.
OUTCOMES = {"success": "success", "score": "score_range"}
