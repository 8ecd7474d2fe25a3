"""Environment variables of this project: which there are, and what they may say.

Looked at before anything is planned, so that a slip is told in one line and not by a job hours
later. docs/output.md and docs/cluster.md say what each is for.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Callable, Mapping

from memdt.errors import UserError, closest
from memdt.workflow import upstream

PREFIX = "MEMDT_"
MOST_TIMES = 1000.0  # longer than estimated


def _any(text: str) -> str:
    return ""


def _one_of(*words: str) -> Callable[[str], str]:
    return lambda text: "" if text in words else f"allowed: {', '.join(words)}"


def _matches(pattern: str, example: str) -> Callable[[str], str]:
    return lambda text: "" if re.fullmatch(pattern, text) else f"such as {example}"


def _seconds(text: str) -> str:
    return "" if 0 <= _number(text) < math.inf else "0 saves after every update"


def _factor(text: str) -> str:
    return "" if 0 < _number(text) <= MOST_TIMES else "a number above 0, such as 1.5"


def _options(text: str) -> str:
    """Why the plugin, or a shell, would not take these options of sbatch."""
    try:
        shlex.split(text)
    except ValueError as error:
        return f"a shell cannot read it: {error}"
    if option := upstream.managed_slurm_option(text):
        return f"Snakemake sets the {option} itself: docs/cluster.md names the variable for it"
    return ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


_WORD = r"[^\s'\"`$;&|<>()\\]+"
# What is wrong with a value that is set, as a remedy; empty where nothing is.
CHECKS: dict[str, Callable[[str], str]] = {
    "MEMDT_DEBUG": _any,
    "MEMDT_DETERMINISTIC": _one_of("0", "1"),
    "MEMDT_DEVICE": _matches(r"cpu|cuda(:\d{1,3})?", "cpu, cuda or cuda:1"),
    "MEMDT_ENGINE_OWNER": _any,
    "MEMDT_IN_MEMORY_BYTES": _matches(r"[0-9]{1,18}", "4294967296"),
    "MEMDT_MIRROR": _any,
    "MEMDT_ORPHANS": _one_of("refuse", "wait", "cancel"),
    "MEMDT_SAVE_EVERY_SECONDS": _seconds,
    "MEMDT_SEEDS": _matches(r"[1-9][0-9]{0,2}", "10"),
    "MEMDT_SLURM_ACCOUNT": _any,
    "MEMDT_SLURM_CONSTRAINT": _any,
    "MEMDT_SLURM_EXTRA": _options,
    "MEMDT_SLURM_GPU_MODEL": _matches(r"[\w.]+", "a100"),
    "MEMDT_SLURM_GPU_PARTITION": _matches(_WORD, "gpu"),
    "MEMDT_SLURM_GRES": _matches(r"\w+(:[\w.]+)?(:\d+)?", "gpu:a100:1"),
    "MEMDT_SLURM_JOBS": _matches(r"[1-9][0-9]{0,5}", "200"),
    "MEMDT_SLURM_MAIL": _matches(_WORD, "me@example.org"),
    "MEMDT_SLURM_PARTITION": _matches(_WORD, "cpu"),
    "MEMDT_SLURM_QOS": _any,
    "MEMDT_SLURM_TIME_FACTOR": _factor,
    "MEMDT_STARTED_BY": _any,
    "MEMDT_TAKE_OVER": _any,
    "MEMDT_TEST_DATA": _any,
}


def check(environment: Mapping[str, str] = os.environ) -> list[str]:
    """UserError for a value that means nothing; notes, for people, about names that nothing reads.

    An empty value counts as none.
    """
    for name, check_value in CHECKS.items():
        text = environment.get(name, "")
        if text and (remedy := check_value(text)):
            raise UserError(f"{text!r} cannot be used", name, remedy)
    if environment.get("MEMDT_SLURM_GRES") and environment.get("MEMDT_SLURM_GPU_MODEL"):
        what = "both ask for a card"
        raise UserError(what, "MEMDT_SLURM_GRES and MEMDT_SLURM_GPU_MODEL", "set one of them")
    odd = (name for name in environment if name.startswith(PREFIX) and name not in CHECKS)
    return [f"{name}: nothing reads it -> {closest(name, CHECKS)}" for name in sorted(odd)]
