"""Write animations: the step behind the rule ``clip``.

The module of a figure with ``clip: true`` defines ``clip``, which gets the same data as the figure
itself. WebP plays in every browser without a script.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from memdt import discovery, paths
from memdt.errors import UserError
from memdt.figures.drawing import gather
from memdt.figures.interface import Clip
from memdt.files import atomic_path
from memdt.settings.pages import figures

MOST_BYTES = 2_000_000
LAST = 2000  # milliseconds for which the last frame is shown
QUALITIES = (80, 65, 50, 35, 20)  # of WebP; the first that is small enough


def make_clip(name: str, scale: str, path: Path) -> None:
    """Draw a clip of `workflow/config/figures.yaml` and write it."""
    settings = figures()[name]
    module: Any = discovery.load("memdt.figures", settings.module)
    if not hasattr(module, "clip"):
        where = f"{paths.CONFIG / 'figures.yaml'}: {name}.clip"
        raise UserError(f"{settings.module} has no animated picture", where, "leave the key out")
    inputs = gather(name, settings, scale)
    content = encoded(module.clip(module.data(inputs), inputs))
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def encoded(clip: Clip) -> bytes:
    """The clip as an endless WebP animation, in the best quality that is small enough.

    The same clip gives the same bytes.
    """
    for quality in QUALITIES:
        file = BytesIO()
        first, *others = clip.frames
        duration = [clip.milliseconds] * len(others) + [max(clip.milliseconds, LAST)]
        first.save(
            file, "WEBP", save_all=True, append_images=others, duration=duration, loop=0,
            quality=quality, method=4,
        )  # fmt: skip
        if file.tell() <= MOST_BYTES:
            break
    return file.getvalue()
