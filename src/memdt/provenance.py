"""How a result came about: ``manifest.json`` beside every checkpoint and evaluation.

Flat JSON: commit, digests, packages, hardware, seed, time and memory. A manifest describes; nothing
is computed from it.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from memdt.files import write_text

# Those whose version can move a number.
PACKAGES = ("torch", "numpy", "scipy", "pandas", "gymnasium", "h5py", "safetensors", "einops")


def manifest(
    started: tuple[float, float], seed: int, device: str, **content: Any
) -> dict[str, Any]:
    """What there is to know about this process, and ``content`` as it is given.

    Args:
        started: ``(time.perf_counter(), time.process_time())`` when the step began.
        seed: of the run.
        device: ``cpu`` or ``cuda``.
        content: digests, settings and figures of the step.
    """
    return {
        **git_state(),
        **content,
        "packages": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "device": device,
        "device_name": device_name(device),
        "threads": threads(),
        "seed": seed,
        "wall_seconds": round(time.perf_counter() - started[0], 3),
        "cpu_seconds": round(time.process_time() - started[1], 3),
        "peak_memory_bytes": peak_memory(),
    }


def write_manifest(path: Path, content: dict[str, Any]) -> None:
    """Write a manifest, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


@cache
def git_state() -> dict[str, Any]:
    """Commit, and whether tracked files differ from it; None where there is no git or no commit."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"git_commit": None, "git_dirty": None}
    return {
        "git_commit": commit,
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def _git(*arguments: str) -> str | None:
    # No locks: jobs side by side must not wait for each other.
    command = ["git", "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def package_versions() -> dict[str, str]:
    """Versions of the packages that can move a number, without importing them."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


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
