"""DVC's side of the workflow: take over pulled files, and set aside those that no longer belong.

Snakemake takes over every file whose content matches the ledger beside it (`ledgers.py`).
``memdt restore`` first compares files and ledgers with dvc.lock, so that only files that DVC knows
are taken over.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from memdt import paths
from memdt.errors import UserError
from memdt.set_aside import FOLDER, set_aside
from memdt.workflow import ledgers, plan, upstream

LOCK = Path("dvc.lock")
SHOWN = 10  # files that are named one by one


def restore() -> None:
    """Check the work tree against dvc.lock, let Snakemake take it over, and print what is left.

    Raises:
        UserError: if a file is missing or differs from dvc.lock; nothing is taken over then.
    """
    check_lock()
    print("memdt: comparing the files with dvc.lock", file=sys.stderr)
    differing = differences()
    for kind, name in differing[:SHOWN]:
        print(f"memdt: {kind}: {name}", file=sys.stderr)
    if differing:
        remedy = "dvc pull, or dvc checkout --force for what dvc.lock says, or dvc repro to go on"
        count = f"{len(differing)} difference{'' if len(differing) == 1 else 's'} from dvc.lock"
        raise UserError(count, "the work tree", remedy)
    os.environ[upstream.TAKE_OVER] = "1"
    try:
        done = run("snakemake", "--dry-run", "--quiet", "rules")
    finally:
        del os.environ[upstream.TAKE_OVER]
    notes = [line for line in done.stderr.splitlines() if line.startswith("memdt:")]
    jobs = re.search(r"^total\s+(\d+)", done.stdout + done.stderr, re.MULTILINE)
    left = "nothing is left to do"
    if jobs is not None:
        left = f"{jobs[1]} jobs are left to do: snakemake -n lists them with their reasons"
    print(*notes, f"memdt: {left}", sep="\n", file=sys.stderr)


def check_lock() -> None:
    """UserError where dvc.lock is cut short, as a DVC that is killed leaves it."""
    if not LOCK.is_file():
        return
    text = LOCK.read_bytes()
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        content = None
    stages = content.get("stages") if isinstance(content, dict) else None
    whole = isinstance(stages, dict) and all(isinstance(one, dict) for one in stages.values())
    # What is left of a YAML file may be valid; DVC writes in blocks, which seldom end with a line.
    if not whole or not text.endswith(b"\n"):
        remedy = "git checkout dvc.lock brings it back; then dvc commit notes what is there now"
        raise UserError("incomplete, DVC was killed while writing it", str(LOCK), remedy)


def differences() -> list[tuple[str, str]]:
    """Differences between the work tree and dvc.lock, each as its kind and its file."""
    status: dict[str, Any] = json.loads(run("dvc", "data", "status", "--granular", "--json").stdout)
    kinds = ("added", "deleted", "modified", "renamed")
    entries = [(k, str(n)) for k in kinds for n in status.get("uncommitted", {}).get(k, [])]
    files = [name for _, name in entries if not name.endswith(os.sep)]
    # DVC lists a folder beside its files. It counts only if DVC knows its digest but not its files.
    return sorted(
        (kind, name)
        for kind, name in entries
        if name in files or not any(file.startswith(name) for file in files)
    )


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this Python's environment; UserError with its reason if it fails."""
    command = [sys.executable, "-m", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        # DVC's error is followed by an address for help.
        errors = [line for line in lines if line.startswith("ERROR: ")]
        what = f"{program} failed: {(errors or lines)[-1].removeprefix('ERROR: ')}"
        raise UserError(what, str(Path.cwd()), f"try {program} by hand")
    return done


def tidy(scale: str, experiment: str) -> None:
    """Set aside the runs of an experiment that the settings no longer ask for.

    DVC hashes the whole folder, so a variant or a seed that was removed from the settings would
    stay in it. Files that no ledger lists are left where they are.
    """
    outputs_of = (plan.manifests, plan.episodes, plan.recorded)
    planned = {path.parent for outputs in outputs_of for path in outputs(scale, [experiment])}
    folder = paths.experiment_folder(scale, experiment)
    ledger = dict(ledgers.read_ledger(folder / paths.LEDGER))
    strays = [Path(n) for n in ledger if Path(n).is_file() and Path(n).parent not in planned]
    for path in strays:
        set_aside(path)
        del ledger[path.as_posix()]
    if strays:
        ledgers.write_ledger(folder / paths.LEDGER, ledger)
        count = f"{len(strays)} files of runs that the settings no longer ask for"
        print(f"memdt: {count} are in {FOLDER / folder} now", file=sys.stderr)
