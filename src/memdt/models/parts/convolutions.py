"""Layers of the frame encoder, and their cost. Cost estimates import this, so it needs no torch."""

from __future__ import annotations

from memdt.errors import UserError

# Kernel side, stride, and channels as a share of the model's width. Source: the public code of
# RATE, which has 32, 64 and 64 channels at a width of 128. Deviation D51: a narrower model has
# fewer channels in the same proportion.
LAYERS = ((8, 4, 1 / 4), (4, 2, 1 / 2), (3, 1, 1 / 2))


def channels(width: int) -> list[int]:
    """Return the output channels of each layer in a model of this width.

    >>> channels(128)
    [32, 64, 64]
    """
    return [max(1, round(share * width)) for _, _, share in LAYERS]


def sides(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the height and width after each layer, for frames height x width x channels.

    >>> sides((64, 112, 3))
    [(15, 27), (6, 12), (4, 10)]
    """
    outputs, (height, width) = [], shape[:2]
    for kernel, stride, _ in LAYERS:
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        outputs.append((height, width))
    return outputs


def check(shape: tuple[int, ...]) -> None:
    """UserError for frames, height x width x channels, of which no pixel would be left."""
    if min(sides(shape)[-1]) < 1:
        what = f"frames of {shape[1]} x {shape[0]} are too small for the encoder"
        raise UserError(what, "models/parts/convolutions.py", "use larger frames")


def products(shape: tuple[int, ...], width: int) -> int:
    """Return the multiplications that turn a frame, height x width x channels, into a token."""
    total, inputs = 0, shape[2]
    layers = zip(sides(shape), channels(width), LAYERS, strict=True)
    for (height, columns), outputs, (kernel, _, _) in layers:
        total += height * columns * outputs * inputs * kernel**2
        inputs = outputs
    return total + height * columns * inputs * width
