"""Put an animated picture into the page: as a text of its bytes, so that nothing is loaded.

Between `figures/clips.py` and `report/render.py`. Whoever has asked the system for less motion
gets the first frame, and everyone opens it before it plays.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from memdt.errors import UserError


@dataclass(frozen=True)
class Moving:
    """Both pictures as addresses that hold their own bytes, and the size in pixels."""

    moving: str
    still: str
    width: int
    height: int


def inline_clip(path: Path) -> Moving:
    """An animated WebP ready for the page; UserError where it is none."""
    content = path.read_bytes()
    try:
        # One format alone, because Pillow would choose a decoder by the content of the file.
        with Image.open(BytesIO(content), formats=["WEBP"]) as image:
            width, height = image.size
            still = BytesIO()
            image.convert("RGB").save(still, "WEBP", quality=80, method=4)
    except (OSError, ValueError) as error:
        remedy = f"make it anew: snakemake {path} --force --cores all"
        raise UserError(f"no animated picture: {error}", str(path), remedy) from error
    return Moving(_address(content), _address(still.getvalue()), width, height)


def _address(content: bytes) -> str:
    return f"data:image/webp;base64,{b64encode(content).decode()}"
