"""How often verdicts are wrong: runs whose truth is known, judged by every test and as cells.

Each world draws seeds from one process and asks questions whose right answer lies at the border,
where a test errs most. A rate is the worst one over all numbers of seeds and episodes and over all
tests of its kind. The long version writes its table into docs/statistics.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.progress import track

from benchmarks.measuring import Table
from memdt.files import write_text
from memdt.results.bounded_mean import lower_limit
from memdt.results.claim_tests import parse_test
from memdt.results.evidence import Evidence, Quantity
from memdt.results.outcomes import FAILS, HOLDS, LEVEL
from memdt.results.published import Cell
from memdt.results.statistics import interval, share_interval
from memdt.results.verdicts import metric_settings, verdict

PAGE = Path("docs/statistics.md")
MARKS = "<!-- calibration: begin -->\n", "<!-- calibration: end -->\n"
LIMITS = "<!-- limits: begin -->\n", "<!-- limits: end -->\n"
SEEDS, EPISODES = (3, 5, 10), (20, 200)
HAIR = 1e-6  # how far beyond the border of a test the truth lies

Values = Float[np.ndarray, " seeds"]
Draw = Callable[[np.random.Generator, int, int], Values]  # stream, seeds, episodes -> their means


@dataclass(frozen=True)
class Process:
    """How seeds come about. ``mean`` is the true mean over seeds."""

    name: str
    mean: float
    draw: Draw
    metric: str = "success"

    def truth(self, episodes: int) -> float:
        """What verdicts are about: the mean of a share, the median of an amount."""
        return self.mean if self.metric == "success" else self.median(episodes)

    def median(self, episodes: int) -> float:
        """The median of the means of seeds, drawn often."""
        return float(np.median(self.draw(np.random.default_rng(0), 1_000_001, episodes)))


class Simulated(Evidence):
    """Seeds that were drawn, by variant; alike at all segment counts."""

    def __init__(self, drawn: Mapping[str, Values]) -> None:
        super().__init__({}, "simulated")
        self._drawn = drawn

    def sample(self, quantity: Quantity) -> dict[int, float]:
        """Seed -> mean."""
        return dict(enumerate(self._drawn[quantity.variant].tolist()))


def _episodes(rng: np.random.Generator, rates: Values, episodes: int) -> Values:
    return rng.binomial(episodes, np.clip(rates, 0, 1)) / episodes


def learns_or(share: float, chance: float) -> Process:
    """Success is 1 in ``share`` of the seeds and ``chance`` in the others."""

    def draw(rng: np.random.Generator, seeds: int, episodes: int) -> Values:
        return _episodes(rng, np.where(rng.random(seeds) < share, 1.0, chance), episodes)

    return Process(f"{share:.0%} learn, else {chance:g}", share + (1 - share) * chance, draw)


def beta(mean: float, size: float) -> Process:
    """Success rates from a beta distribution; the smaller ``size``, the wider."""

    def draw(rng: np.random.Generator, seeds: int, episodes: int) -> Values:
        return _episodes(rng, rng.beta(mean * size, (1 - mean) * size, seeds), episodes)

    return Process(f"beta, mean {mean:g}, size {size:g}", mean, draw)


def tie(rate: float) -> Process:
    """All seeds have the same success rate; only episodes differ."""
    return Process(
        f"all seeds {rate:g}", rate, lambda rng, seeds, n: _episodes(rng, np.full(seeds, rate), n)
    )


def amount(name: str, mean: float, draw: Callable[[np.random.Generator, int], Values]) -> Process:
    """A return: each seed's mean is drawn, its episodes add a spread of 5."""

    def noisy(rng: np.random.Generator, seeds: int, episodes: int) -> Values:
        return draw(rng, seeds) + rng.normal(0, 5 / np.sqrt(episodes), seeds)

    return Process(name, mean, noisy, "return")


PROCESSES = (
    *(learns_or(share, 0.5) for share in (0.5, 0.8, 0.95)),
    *(learns_or(share, 0.0) for share in (0.8, 0.97)),
    beta(0.5, 2),
    beta(0.9, 4),
    beta(0.97, 30),
    tie(0.5),
    tie(0.995),
    amount("normal return", 20, lambda rng, seeds: rng.normal(20, 4, seeds)),
    amount("skewed return", 20, lambda rng, seeds: 10 + rng.gamma(2, 5, seeds)),
    amount("80% learn a return", 18, lambda rng, seeds: rng.choice([20, 10], seeds, p=[0.8, 0.2])),
)


def measure(
    long: bool = False, processes: tuple[Process, ...] = PROCESSES, worlds: int = 0
) -> Table:
    """The share of wrong verdicts for each process, in per cent."""
    worlds = worlds or (500 if long else 20)
    rows = [_row(process, worlds) for process in track(processes, disable=not long, transient=True)]
    table = Table(
        f"Wrong verdicts in per cent, worst of {SEEDS} seeds x {EPISODES} episodes,"
        f" {worlds:,} worlds each",
        rows,
    )
    if long and PAGE.is_file():
        page = written(PAGE.read_text(encoding="utf-8"), table)
        write_text(PAGE, written(page, limits(), LIMITS))
    return table


def limits(numbers: tuple[int, ...] = (3, 6, 10, 30, 72)) -> Table:
    """What so many seeds can show where all of them agree, and how many must."""
    return Table("What so many seeds can show", [_limit(seeds) for seeds in numbers])


def _limit(seeds: int) -> dict[str, Any]:
    solved = np.ones(seeds)
    tail, equivalence = (lower_limit(solved, p, (0.0, 1.0)) for p in (LEVEL / 2, LEVEL))
    counts = (n for n in range(seeds + 1) if share_interval(n, seeds).low > 0.5)
    most, difference = next(counts, None), 1 / tail - 1
    return {
        "seeds": str(seeds),
        "all succeed: mean at least": f"{tail:.2f}",
        "most seeds do: needs": "–" if most is None else f"{most} of {seeds}",
        "one mean above another: difference from": f"{difference:.2f}" if difference < 1 else "–",
        "equal to a printed 1.0: margin from": f"{1 - equivalence:.2f}",
    }


def written(page: str, table: Table, marks: tuple[str, str] = MARKS) -> str:
    """The page with the table between its marks."""
    before, rest = page.split(marks[0])
    _, after = rest.split(marks[1])
    names = list(table.rows[0])
    lines = [names, ["---", *["--:"] * (len(names) - 1)], *(row.values() for row in table.rows)]
    text = "\n".join("| " + " | ".join(map(_text, line)) + " |" for line in lines)
    return f"{before}{marks[0]}\n{table.title}:\n\n{text}\n\n{marks[1]}{after}"


def rates(process: Process, seeds: int, episodes: int, worlds: int) -> Counter[str]:
    """How often each kind of verdict was wrong, by `kind: test`; and `covered`."""
    rng = np.random.default_rng([len(process.name), seeds, episodes])
    wrong: Counter[str] = Counter()
    truth, middle = process.truth(episodes), process.median(episodes)
    tests = [
        (kind, f"{kind}: {name}", parse_test(test))
        for kind, name, test in questions(process.metric, truth, middle)
    ]
    for _ in range(worlds):
        drawn = {name: process.draw(rng, seeds, episodes) for name in "abcd"}
        drawn["flat"] = np.full(seeds, truth)
        evidence = Simulated(drawn)
        for kind, name, test in tests:
            wrong[name] += test.judge(evidence).verdict == kind
        wrong.update(_wrong_cells(process.metric, truth, drawn["a"]))
        estimate = interval(drawn["a"], bounds=metric_settings(process.metric).bounds)
        wrong["covered"] += estimate.contains(truth)
    return wrong


def questions(metric: str, mean: float, middle: float) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Verdict, name and test: each is wrong to give this verdict. ``middle`` is the median."""
    width = 0.1 if metric == "success" else 2.0

    def one(word: str, variant: str = "a", **rest: float) -> dict[str, Any]:
        return {word: {"variant": variant, "segments": 1, "metric": metric, **rest}}

    def two(word: str, right: str = "b", **rest: float) -> dict[str, Any]:
        sides = {
            side: {"variant": name, "segments": 1, "metric": metric}
            for side, name in (("left", "a"), ("right", right))
        }
        return {word: {**sides, **rest}}

    yield HOLDS, "near", one("near", value=mean + width + HAIR, within=width)
    yield HOLDS, "near below", one("near", value=mean - width - HAIR, within=width)
    yield HOLDS, "at_least", one("at_least", value=mean + HAIR)
    yield HOLDS, "at_most", one("at_most", value=mean - HAIR)
    yield HOLDS, "greater", two("greater")
    yield HOLDS, "greater than a constant", two("greater", "flat")
    yield HOLDS, "beats", two("beats")
    yield HOLDS, "gain", two("gain", value=width + HAIR, within=width)
    yield HOLDS, "steadier", two("steadier")
    yield HOLDS, "most_seeds", one("most_seeds", low=middle + HAIR)
    some = [one("at_least", name, value=mean + HAIR) for name in "abcd"]
    yield HOLDS, "any of four", {"any": some}
    yield FAILS, "near", one("near", value=mean - width, within=width)
    yield FAILS, "at_least", one("at_least", value=mean)
    yield FAILS, "at_most", one("at_most", value=mean)
    yield FAILS, "greater", two("greater", by=-HAIR)
    yield FAILS, "beats", two("beats", by=-HAIR)
    yield FAILS, "most_seeds", one("most_seeds", low=middle - HAIR)
    every = [one("at_most", name, value=mean) for name in "abcd"]
    yield FAILS, "all of four", {"all": every}


def _wrong_cells(metric: str, truth: float, sample: Values) -> Iterator[str]:
    margin = 0.05 if metric == "success" else 2.0
    for sign in (-1, 1):
        printed = _cell(metric, truth + sign * (margin + HAIR), margin)
        if verdict(printed, sample).word == "reproduced":
            yield f"reproduced: {sign:+d}"
    if verdict(_cell(metric, truth, 0.0), sample).word in ("higher", "lower"):
        yield "different: cell"


def _cell(metric: str, mean: float, margin: float) -> Cell:
    texts = dict.fromkeys(("paper", "version", "item", "page", "unit", "note"), "simulated")
    return Cell(
        **texts, experiment="e", variant="v", condition="c", segments=1, metric=metric,
        mean=mean, spread_kind="none", margin=margin, in_scope=True,
    )  # fmt: skip


def _row(process: Process, worlds: int) -> dict[str, Any]:
    measured = [rates(process, seeds, n, worlds) for seeds in SEEDS for n in EPISODES]

    def worst(kind: str) -> float:
        return max(
            (100 * count / worlds for one in measured for name, count in one.items()
             if name.startswith(f"{kind}:")), default=0.0,
        )  # fmt: skip

    return {
        "seeds": process.name,
        "coverage": min(100 * one["covered"] / worlds for one in measured),
        "false holds": worst(HOLDS),
        "false does not hold": worst(FAILS),
        "false reproduced": worst("reproduced"),
        "false higher or lower": worst("different"),
    }


def _text(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
