"""Write the curves of a run as TensorBoard events, for those who look at curves there.

Needs the package tensorboard, which memdt does not install.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from memdt.errors import UserError
from memdt.training.curve import FIXED_COLUMNS


def write_events(run: Path, to: Path) -> int:
    """Write a scalar for each column of every ``curve.csv``; return how many values there are.

    Stages follow each other: the updates of a stage count on from those before.

    Raises:
        UserError: the run has no curves, or tensorboard is not installed.
    """
    # By number: as text, stage_10 would come before stage_2.
    curves = sorted(run.glob("stage_*/curve.csv"), key=lambda path: int(path.parts[-2][6:]))
    if not curves:
        raise UserError("no stage of this run has a curve", str(run), "name the folder of a run")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        remedy = "pip install tensorboard"
        raise UserError("tensorboard is not installed", str(to), remedy) from None
    count, before = 0, 0
    with SummaryWriter(str(to)) as writer:
        for path in curves:
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            for row in rows:
                update = before + int(row["update"])
                for name in set(row) - set(FIXED_COLUMNS):
                    value = float(row[name] or math.nan)
                    if math.isfinite(value):
                        writer.add_scalar(name, value, update)
                        count += 1
            before += int(rows[-1]["update"]) if rows else 0
    return count
