"""The outcome of a claim's test: two p-values, and the verdict that follows from them.

`results/claim_tests.py` makes outcomes, and `results/claims.py` corrects them for their number. A
p-value here is the level at which the interval of one minus that level just lies wholly inside
(``p_holds``) or wholly outside (``p_fails``) the claim's region; at 0.05 that is the 95 % interval.

    region of the claim        |=========|
    interval wholly inside        [---]         holds
    interval wholly outside              [---]  does not hold
    across its border                 [---]     undecided
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

LEVEL = 0.05
MINIMUM_SEEDS = 3

HOLDS, FAILS, UNDECIDED, NOT_RUN = "holds", "does not hold", "undecided", "not run"
WAITING = "waiting"
AT_CEILING, AT_FLOOR, TOO_FEW = "at the ceiling", "at the floor", "cannot be decided"
VERDICTS = (HOLDS, FAILS, AT_CEILING, AT_FLOOR, UNDECIDED, TOO_FEW, NOT_RUN, WAITING)


@dataclass(frozen=True)
class Outcome:
    """The p-values of one test, or of several together, and the numbers behind them.

    ``seeds`` is the smallest number of seeds that stand behind any part, ``fewest`` the smallest
    with which the test could hold if every run went its way. ``missing`` says that some part has
    not run, ``waits_for`` what has to be built first, ``limit`` that a side had no room to move:
    `at the ceiling`, `at the floor` or nothing.
    """

    evidence: str
    p_holds: float = 1.0
    p_fails: float = 1.0
    seeds: int = 0
    fewest: float = 0
    missing: bool = False
    limit: str = ""
    waits_for: str = ""

    @property
    def verdict(self) -> str:
        """One of VERDICTS."""
        # The p-values come first: one part of `any` may decide it while another has not run.
        if self.p_holds <= LEVEL:
            return HOLDS
        if self.p_fails <= LEVEL:
            return FAILS
        if self.waits_for:
            return WAITING
        if self.missing:
            return NOT_RUN
        if self.limit:
            return self.limit
        return TOO_FEW if self.seeds < self.fewest else UNDECIDED

    def spent(self, share: float) -> Outcome:
        """The outcome if only ``share`` of the level may be spent at this look at the data."""
        if share == 1:
            return self
        p_holds, p_fails = (
            min(1.0, p / share) if share else 1.0 for p in (self.p_holds, self.p_fails)
        )
        return replace(self, p_holds=p_holds, p_fails=p_fails)


def every(outcomes: Sequence[Outcome]) -> Outcome:
    """Combine tests that must all hold, each at the full level.

    One that fails refutes the claim, so refutations are corrected for the number of tests.
    """
    return at_least(len(outcomes), outcomes)


def some(outcomes: Sequence[Outcome]) -> Outcome:
    """Combine tests of which one must hold; all must fail to refute the claim.

    One that holds is enough, so those p-values are corrected for the number of tests.
    """
    return at_least(1, outcomes)


def at_least(count: int, outcomes: Sequence[Outcome]) -> Outcome:
    """Combine tests of which ``count`` must hold.

    The claim is refuted where so many fail that fewer are left. Each p-value is that of a partial
    conjunction, with Bonferroni's correction. Tests that did not run count for neither side.
    Source: Benjamini and Heller 2008, section 2.
    """
    if not 0 < count <= len(outcomes):
        return Outcome("not run", missing=True)
    return replace(
        _joined(outcomes),
        p_holds=_partial_conjunction(count, [one.p_holds for one in outcomes]),
        p_fails=_partial_conjunction(len(outcomes) - count + 1, [one.p_fails for one in outcomes]),
        fewest=sorted(one.fewest for one in outcomes)[count - 1],
    )


def _partial_conjunction(count: int, p_values: Sequence[float]) -> float:
    """The p-value of "at least ``count`` of these are true"."""
    return min(1.0, (len(p_values) - count + 1) * sorted(p_values)[count - 1])


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        "; ".join(one.evidence for one in outcomes),
        seeds=min(one.seeds for one in outcomes),
        missing=any(one.missing for one in outcomes),
        limit=next((one.limit for one in outcomes if one.limit), ""),
        waits_for=next((one.waits_for for one in outcomes if one.waits_for), ""),
    )


def too_few(name: str, seeds: int, mean: float, fewest: float) -> Outcome:
    """The outcome if fewer than MINIMUM_SEEDS have run, or none at all."""
    if not seeds:
        return Outcome(f"{name}: not run", fewest=fewest, missing=True)
    evidence = f"{name}: {mean:.3f}, only {seeds} of {MINIMUM_SEEDS} seeds"
    return Outcome(evidence, seeds=seeds, fewest=fewest)
