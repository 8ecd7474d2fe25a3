"""The test of claims about how large models are: computed from their settings, no run needed.

Used by `results/claim_tests.py`. Sizes follow from the settings at one scale, that of the paper
unless the test names another, so the answer is the same in every report.
"""

from __future__ import annotations

import math

from memdt.models.building import build_policy
from memdt.results.evidence import Evidence, Quantity
from memdt.results.outcomes import Outcome
from memdt.results.quantity_tests import Test
from memdt.settings.resolve import resolve


class ParameterDifference(Test):
    """`parameters`: ``left`` has from ``low`` to ``high`` parameters more than ``right``.

    Both sides are written experiment/variant.
    """

    left: str
    right: str
    low: float = -math.inf
    high: float = math.inf
    scale: str = "paper"

    def _judge(self, evidence: Evidence, level: float) -> Outcome:
        left, right = (parameter_count(side, self.scale) for side in (self.left, self.right))
        inside = self.low <= left - right <= self.high
        name = f"parameters of {self.left} minus {self.right} at scale {self.scale}"
        text = f"{name}: {left:,} - {right:,} = {left - right:,}"
        # A count is no sample, so nothing is left to chance: one p-value is 0, the other 1.
        return Outcome(text, p_holds=float(not inside), p_fails=float(inside))

    def _quantities(self) -> list[Quantity]:
        return []


def parameter_count(side: str, scale: str) -> int:
    """Parameters of the policy of ``side`` (experiment/variant)."""
    experiment, _, variant = side.partition("/")
    settings = resolve(experiment, variant, scale).settings
    # Not with meta tensors: the first of them makes torch import sympy, which takes a second.
    policy = build_policy(settings, weights_seed=0)
    return sum(parameter.numel() for parameter in policy.parameters())
