"""Look up the sample behind one quantity of a claim: the mean of each seed.

Connects the frames of `results/results.py` with the tests of `results/claim_tests.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy import stats

from memdt.results.metric_names import MetricText
from memdt.results.results import per_seed

TRIMMED = 0.25  # of several variants, left out at either end


class Data(BaseModel):
    """Base of models read from YAML: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def first_problem(error: ValidationError) -> str:
    """The first of pydantic's complaints, on one line."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


class Quantity(Data):
    """A mean over seeds. Several ``segments`` stand for their mean, taken seed by seed.

    A ``variant`` with a * stands for all that match: their interquartile mean, seed by seed, over
    those that have been run (Agarwal et al. 2021).
    """

    variant: str
    segments: int | tuple[int, ...]
    condition: str = "as_published"
    metric: MetricText = "success"
    experiment: str = ""  # blank: the experiment of the claim

    @property
    def lengths(self) -> tuple[int, ...]:
        """The segment counts, always as a tuple."""
        return self.segments if isinstance(self.segments, tuple) else (self.segments,)

    def label(self) -> str:
        """The quantity's name in the evidence, as in `rate-3 (noise) at 2 segments`."""
        edited = "" if self.condition == "as_published" else f" ({self.condition})"
        measured = "" if self.metric == "success" else f"{self.metric} of "
        counts = ", ".join(str(count) for count in self.lengths)
        unit = "segment" if counts == "1" else "segments"
        return f"{measured}{self.variant}{edited} at {counts} {unit}"


@dataclass
class Evidence:
    """The episodes of all experiments, for one claim."""

    episodes: Mapping[str, pd.DataFrame]
    experiment: str
    _means: dict[tuple[str, str], pd.DataFrame] = field(default_factory=dict)
    _samples: dict[tuple[Quantity, frozenset[str] | None], dict[int, float]] = field(
        default_factory=dict
    )

    def variants(self) -> list[str]:
        """All variants of the claim's experiment that have results."""
        frame = self.episodes.get(self.experiment)
        return [] if frame is None or frame.empty else list(frame["variant"].unique())

    def pair(self, left: Quantity, right: Quantity) -> tuple[dict[int, float], dict[int, float]]:
        """Both samples; where both variants have a star, over what it stands for in both."""
        if not ("*" in left.variant and "*" in right.variant):
            return self.sample(left), self.sample(right)
        common = set(self._matching(left)) & set(self._matching(right))
        return self.sample(left, common), self.sample(right, common)

    def _matching(self, quantity: Quantity) -> dict[str, str]:
        """The variants that have results, by what the * of the quantity's variant stands for."""
        means = self._per_seed(quantity.experiment or self.experiment, quantity.metric)
        names = means[means["condition"] == quantity.condition]["variant"].unique()
        before, _, after = quantity.variant.partition("*")
        return {
            name.removeprefix(before).removesuffix(after): name
            for name in names
            if fnmatchcase(name, quantity.variant)
        }

    def sample(self, quantity: Quantity, only: Collection[str] | None = None) -> dict[int, float]:
        """Seed -> mean, for seeds that have results at all of the quantity's segment counts.

        ``only``: what a * in the variant's name may stand for; None: anything.
        """
        key = (quantity, None if only is None else frozenset(only))
        if key not in self._samples:
            self._samples[key] = self._drawn(quantity, only)
        return self._samples[key]

    def _drawn(self, quantity: Quantity, only: Collection[str] | None) -> dict[int, float]:
        means = self._per_seed(quantity.experiment or self.experiment, quantity.metric)
        matching = self._matching(quantity)
        names = [name for star, name in matching.items() if only is None or star in only]
        chosen = means[
            means["variant"].isin(names)
            & (means["condition"] == quantity.condition)
            & means["segments"].isin(quantity.lengths)
        ]
        # A seed without one of the lengths is left out: its mean would be that of other lengths.
        series = [
            wide.reindex(columns=list(quantity.lengths)).dropna().mean(axis=1)
            for _, each in chosen.groupby("variant")
            for wide in [each.pivot(index="seed", columns="segments", values="value")]
        ]
        if not series:
            return {}
        complete = pd.concat(series, axis=1).dropna()
        values = stats.trim_mean(complete.to_numpy(), TRIMMED, axis=1)
        return dict(zip((int(seed) for seed in complete.index), values.tolist(), strict=True))

    def levels(self, quantity: Quantity) -> list[float]:
        """The mean over seeds at each segment count that has results."""
        each = [
            self.sample(quantity.model_copy(update={"segments": count})).values()
            for count in quantity.lengths
        ]
        return [sum(values) / len(values) for values in each if values]

    def _per_seed(self, experiment: str, metric: str) -> pd.DataFrame:
        if (experiment, metric) not in self._means:
            frame = self.episodes.get(experiment, pd.DataFrame())
            self._means[experiment, metric] = per_seed(frame, metric)
        return self._means[experiment, metric]
