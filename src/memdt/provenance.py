"""How a result came about: a manifest beside every checkpoint and evaluation.

Two files of flat JSON. ``manifest.json`` holds what is the same each time the result is made:
settings, digests, packages, device, and the sha256 of the files that it describes. What differs
each time stands in ``measured.json``: duration, memory, commit. The first is kept and compared, the
second only told, and may be missing. Nothing is computed from either.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from memdt.errors import UserError
from memdt.files import sha256, write_text

FORMAT = "memdt manifest 1"
# Those whose version can move a number.
PACKAGES = (
    "torch", "numpy", "scipy", "pandas", "gymnasium", "h5py", "safetensors", "vizdoom", "mujoco",
    "metaworld", "ale-py", "d3rlpy",
)  # fmt: skip


def manifest(seed: int, device: str, files: Iterable[Path], **content: Any) -> dict[str, Any]:
    """What made a result, as it is each time it is made so, and ``content`` as it is given.

    Args:
        seed: of the run.
        device: ``cpu`` or ``cuda``.
        files: what the step has written beside the manifest.
        content: digests, settings and counts of the step.
    """
    return {
        "format": FORMAT,
        **content,
        "packages": package_versions(),
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "device": device,
        "device_name": device_name(device),
        "threads": threads(),
        "seed": seed,
        "files": {path.name: sha256(path) for path in files},
    }


def measured(
    started: tuple[float, float],
    before: tuple[float, float] = (0.0, 0.0),
    resumed: int = 0,
    updates: int | None = None,
) -> dict[str, Any]:
    """What this process took and where it ran: different each time.

    Args:
        started: ``(time.perf_counter(), time.process_time())`` when the step began.
        before: wall and CPU seconds that a resumed step had spent until it was stopped.
        resumed: how many times it was resumed.
        updates: of a training stage, to tell its speed.
    """
    wall = time.perf_counter() - started[0] + before[0]
    speed = {} if updates is None else {"updates_per_second": round(updates / wall, 3)}
    return {
        **git_state(),
        **speed,
        "platform": platform.platform(),
        "wall_seconds": round(wall, 3),
        "cpu_seconds": round(time.process_time() - started[1] + before[1], 3),
        "peak_memory_bytes": peak_memory(),
        "resumed": resumed,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_manifest(path: Path, content: dict[str, Any], figures: dict[str, Any]) -> None:
    """Write a manifest, whole or not at all, and before it what was measured.

    The manifest comes last: where it is, everything is. The other names it by its digest, because a
    manifest that is fetched from elsewhere may come to lie beside what was measured here.
    """
    text = _as_text(content)
    write_text(measured_beside(path), _as_text({**figures, "manifest": _digest(text.encode())}))
    write_text(path, text)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest; UserError if the file is damaged or not a manifest of this version."""
    remedy = f"make it anew: snakemake {path} --force --cores all"
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"no JSON ({type(error).__name__})", str(path), remedy) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"not a manifest of this version ({FORMAT!r})", str(path), remedy)
    return content


def check_described(path: Path, manifest: str, remedy: str) -> None:
    """UserError where a file is not what the manifest beside it says.

    Nothing is checked where there is no manifest, or where it does not name the file: that is told
    by `memdt verify`.
    """
    beside = path.with_name(manifest)
    files = read_manifest(beside).get("files") if beside.is_file() else None
    digest = files.get(path.name) if isinstance(files, dict) else None
    if digest not in (None, sha256(path)):
        raise UserError(f"its content is not what {manifest} says", str(path), remedy)


def read_measured(path: Path) -> dict[str, Any]:
    """The measurements made together with this manifest; empty if it was made elsewhere."""
    try:
        figures = json.loads(measured_beside(path).read_bytes())
    except (OSError, ValueError):
        return {}
    mine = isinstance(figures, dict) and figures.get("manifest") == _digest(path.read_bytes())
    return figures if mine else {}


def measured_beside(manifest_path: Path) -> Path:
    """``measured.json`` for ``manifest.json``, and so on."""
    return manifest_path.with_name(manifest_path.name.replace("manifest", "measured"))


def _as_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def git_state() -> dict[str, Any]:
    """The commit, and whether tracked files differ from it; None without git or a commit."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"git_commit": None, "git_dirty": None}
    return {
        "git_commit": commit,
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _git(*arguments: str) -> str | None:
    # Without locks, because parallel jobs must not wait for each other.
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def package_versions() -> dict[str, str]:
    """Versions of the packages that can move a number."""
    return versions(PACKAGES)


def versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of those packages that are installed, without importing them."""
    installed = {}
    for name in names:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


@cache
def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def device_name(device: str) -> str:
    """The graphics card's name, or the processor's."""
    if not device.startswith("cuda"):
        return cpu_model()
    import torch

    return str(torch.cuda.get_device_name(device))


def usable_cores() -> int:
    """The cores that this process may use; all of them on macOS, which cannot say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Threads of a matrix product: torch's where it is loaded, else as the environment says."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads() if torch else os.environ.get("OMP_NUM_THREADS", "1"))


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes.

    Linux's getrusage counts what the parent held before this process; its status file does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
