"""Compare every reproduced cell of an experiment with its published counterpart.

Turns episodes (`results/results.py`) into `reports/{scale}/tables/{experiment}.csv`. A table is
tidy, with one row per cell; `wide` lays it out with the rows and columns of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from memdt.errors import UserError
from memdt.files import atomic_path
from memdt.results import budgets
from memdt.results.budgets import Budget
from memdt.results.published import Cell, Key, in_scope
from memdt.results.results import CELL_KEYS, per_seed, read_csv
from memdt.results.statistics import Interval, interval
from memdt.results.verdicts import Metric, metric_settings, verdict
from memdt.settings.files import TableSettings

DIMENSIONS = ("variant", "condition", "segments", "metric")
# of a variant that is named set-method: before its last hyphen, and after
PARTS = ("set", "method")
AS_PUBLISHED = "as_published"
TABLE_COLUMNS = (
    "experiment", "row", "column", "variant", "condition", "segments", "metric", "origin",
    "paper", "version", "item", "published_mean", "published_spread", "spread_kind",
    "published_seeds", "margin", "reproduced_mean", "low", "high", "seeds", "seed_numbers",
    "per_seed", *budgets.COLUMNS, "difference", "verdict",
)  # fmt: skip
FLOATS = (
    "published_mean", "published_spread", "margin", "reproduced_mean", "low", "high", "difference",
)  # fmt: skip
COUNTS = ("segments", "published_seeds", "seeds", *budgets.COLUMNS)


def build_table(
    experiment: str,
    settings: TableSettings,
    episodes: pd.DataFrame,
    published: Iterable[Cell],
    spent: Mapping[str, Budget] | None = None,
) -> pd.DataFrame:
    """One row per cell that is printed, reproduced or both, with the columns TABLE_COLUMNS.

    ``origin`` is `ours` for a condition that the paper does not report. ``per_seed`` and
    ``seed_numbers`` are texts joined by `;`, seeds ascending. `as_published` comes first, then
    conditions and variants as in the published rows and the episodes; segments ascend, metrics are
    in the order of the settings. ``spent``: what each variant cost (`budgets.py`).
    Missing numbers are missing values.

    Raises:
        UserError: for an impossible shape or an unknown metric.
    """
    _refuse_shape(settings)
    judged = {name: metric_settings(name) for name in settings.metrics}
    printed = [cell for cell in published if cell.experiment == experiment]
    cells = in_scope(printed, experiment, settings.metrics)
    samples = _samples(experiment, settings.metrics, episodes)
    reported = {AS_PUBLISHED, *(cell.condition for cell in printed)}
    rows = [
        {
            "row": str(_dimensions(key)[settings.rows]),
            "column": str(_dimensions(key)[settings.columns]),
            "origin": "paper" if key[2] in reported else "ours",
            **_compared(key, cells.get(key), samples.get(key), judged[key[4]]),
            **(spent or {}).get(str(key[1]), {}),
        }
        for key in _ordered({**cells, **samples}, settings.metrics)
    ]
    return _typed(pd.DataFrame(rows, columns=list(TABLE_COLUMNS)))


def wide(table: pd.DataFrame, value: str = "reproduced_mean") -> pd.DataFrame:
    """The table in the paper's shape, filled with ``value``.

    Other dimensions that vary are added to the column's name, as in `dt-3 (full_context, ours)`.
    Numbers ascend, names keep their order; an absent cell is missing.
    """
    open_dimensions = _open_dimensions(table)
    names = [_column_name(cell, open_dimensions) for cell in table.to_dict("records")]
    shape = table.assign(column=names).pivot(index="row", columns="column", values=value)
    return shape.reindex(index=_in_order(table["row"]), columns=_in_order(names))


def verdict_counts(table: pd.DataFrame) -> dict[str, int]:
    """Counts of verdicts among the cells that a table or figure of a paper prints."""
    words = table.loc[printed_cells(table), "verdict"]
    return {str(word): int(count) for word, count in words.value_counts().items()}


def printed_cells(table: pd.DataFrame) -> pd.Series:
    """Which cells a table or figure prints, with one number each.

    A sentence in the text ("100 % at all lengths up to three segments") fills several cells, so it
    counts once, as a claim.
    """
    return (table["verdict"] != "no published number") & ~cells_of_sentences(table)


def cells_of_sentences(table: pd.DataFrame) -> pd.Series:
    """Which cells come from a sentence in the text."""
    return table["item"].fillna("").str.startswith("Section")


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    """Write the tidy table as CSV; the same table gives the same bytes."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


def read_table(path: Path | str) -> pd.DataFrame:
    """Read a table that `write_table` wrote; texts stay texts, missing numbers become NaN.

    UserError for a truncated or foreign file.
    """
    texts = dict.fromkeys(set(TABLE_COLUMNS) - set(FLOATS) - set(COUNTS), str)
    frame = read_csv(path, TABLE_COLUMNS, dtype=texts, keep_default_na=False, na_values=[""])
    try:
        typed = _typed(frame)
    except (ValueError, TypeError):
        raise _foreign(path, "a value is no number") from None
    if typed["verdict"].isna().any():
        raise _foreign(path, "a value is missing")
    return typed


def _foreign(path: Path | str, what: str) -> UserError:
    return UserError(what, str(path), f"make it anew: snakemake {path} --force --cores all")


def _refuse_shape(settings: TableSettings) -> None:
    shape = (settings.rows, settings.columns)
    if shape[0] == shape[1] or not set(shape) <= {*DIMENSIONS, *PARTS}:
        allowed = ", ".join((*DIMENSIONS, *PARTS))
        raise UserError(
            f"rows and columns are {shape}", "table", f"two different ones of {allowed}"
        )


def _samples(
    experiment: str, metrics: Sequence[str], episodes: pd.DataFrame
) -> dict[Key, pd.Series]:
    """Key -> the value of each seed, indexed by seed."""
    samples: dict[Key, pd.Series] = {}
    for metric in metrics:
        values = per_seed(episodes, metric)
        values = values[values["experiment"] == experiment]
        for (name, variant, condition, segments), group in values.groupby(
            list(CELL_KEYS), sort=False
        ):
            key = (name, variant, condition, int(segments), metric)
            samples[key] = group.set_index("seed")["value"]
    return samples


def _ordered(keys: Mapping[Key, object], metrics: Sequence[str]) -> list[Key]:
    """Sort keys: conditions and variants by first appearance, then segments ascending."""
    variants = {key[1]: None for key in keys}
    conditions = {AS_PUBLISHED: None, **{key[2]: None for key in keys}}
    ranks = [
        {name: rank for rank, name in enumerate(names)} for names in (conditions, variants, metrics)
    ]
    return sorted(
        keys,
        key=lambda key: (
            ranks[0][key[2]], ranks[1][key[1]], key[3] or 0, ranks[2][key[4]],
        ),
    )  # fmt: skip


def _dimensions(key: Key) -> dict[str, str | int | None]:
    parts = dict(zip(PARTS, key[1].rpartition("-")[::2], strict=True))
    return {
        "variant": key[1], "condition": key[2], "segments": key[3], "metric": key[4], **parts
    }  # fmt: skip


def _compared(
    key: Key, cell: Cell | None, sample: pd.Series | None, metric: Metric
) -> dict[str, object]:
    mean = None if sample is None else interval(sample.to_numpy(), bounds=metric.bounds)
    judged = verdict(cell, None if sample is None else sample.to_numpy(), metric)
    return {
        "experiment": key[0],
        **{name: _dimensions(key)[name] for name in DIMENSIONS},
        **_published(cell),
        **_reproduced(mean, sample),
        "difference": judged.difference,
        "verdict": judged.word,
    }


def _published(cell: Cell | None) -> dict[str, object]:
    if cell is None:
        return {}
    return {
        "paper": cell.paper,
        "version": cell.version,
        "item": cell.item,
        "published_mean": cell.mean,
        "published_spread": math.nan if cell.spread is None else cell.spread,
        "spread_kind": cell.spread_kind,
        "published_seeds": cell.seeds,
        "margin": cell.margin,
    }


def _reproduced(mean: Interval | None, sample: pd.Series | None) -> dict[str, object]:
    if mean is None or sample is None:
        return {"seeds": 0}
    return {
        "reproduced_mean": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "seeds": mean.seeds,
        "seed_numbers": ";".join(str(seed) for seed in sample.index),
        "per_seed": ";".join(f"{value:.6f}" for value in sample),
    }


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Give columns their types; counts stay integers in the file although some are missing."""
    kinds = {**dict.fromkeys(FLOATS, "float64"), **dict.fromkeys(COUNTS, "Int64")}
    return table.astype(kinds)


def _open_dimensions(table: pd.DataFrame) -> list[str]:
    """The dimensions that vary and are neither the rows nor the columns of the table."""
    shown = [table["row"].tolist(), table["column"].tolist()]
    return [
        name
        for name in left_open(DIMENSIONS, table)
        if table[name].nunique() > 1 and table[name].astype(str).tolist() not in shown
    ]


def left_open(names: Sequence[str], table: pd.DataFrame) -> list[str]:
    """The dimensions without that of variants, where rows and columns are the parts of these."""
    whole = bool((table["row"] + "-" + table["column"] == table["variant"]).all())
    return [name for name in names if not (whole and name == "variant")]


def _column_name(cell: Mapping[str, object], open_dimensions: Iterable[str]) -> str:
    """The column's name, with its other dimensions and whether it is ours."""
    values = [str(cell[name]) for name in open_dimensions]
    extra = [value for value in values if value != AS_PUBLISHED]
    extra += ["ours"] if cell["origin"] == "ours" else []
    return f"{cell['column']} ({', '.join(extra)})" if extra else str(cell["column"])


def _in_order(labels: Iterable[str]) -> list[str]:
    """Labels in order of appearance; if all begin with a number they ascend, plain ones first."""
    parts = {label: label.partition(" ") for label in labels}
    if not all(number.isdecimal() for number, _, _ in parts.values()):
        return list(parts)
    return sorted(parts, key=lambda label: (parts[label][2], int(parts[label][0])))
