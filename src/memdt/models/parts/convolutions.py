"""What encoders of frames are made of, and what they cost; plans ask, so no torch is here."""

from __future__ import annotations

# Side of the kernel, stride; the share of the model's width that the layer's channels are. Source:
# the public code of RATE, which has 32, 64 and 64 channels beside a width of 128. Deviation D51:
# a narrower model has fewer in the same proportion.
LAYERS = ((8, 4, 1 / 4), (4, 2, 1 / 2), (3, 1, 1 / 2))


def channels(width: int) -> list[int]:
    """How many channels each layer makes in a model of this width.

    >>> channels(128)
    [32, 64, 64]
    """
    return [max(1, round(share * width)) for _, _, share in LAYERS]


def sides(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Height and width of what each layer makes of a frame, height x width x channels.

    >>> sides((64, 112, 3))
    [(15, 27), (6, 12), (4, 10)]
    """
    made, (height, width) = [], shape[:2]
    for kernel, stride, _ in LAYERS:
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        made.append((height, width))
    return made


def products(shape: tuple[int, ...], width: int) -> int:
    """Multiplications that make a token of ``width`` of a frame, height x width x channels."""
    total, before = 0, shape[2]
    layers = zip(sides(shape), channels(width), LAYERS, strict=True)
    for (height, columns), made, (kernel, _, _) in layers:
        total += height * columns * made * before * kernel**2
        before = made
    return total + height * columns * before * width
