"""Made-up results of two variants, as figures are given them."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from memdt import discovery
from memdt.evaluation.recorder import compressed
from memdt.evaluation.recordings import Recording
from memdt.figures.interface import AttentionRecord, FigureInputs, RecordedRun, VariantFacts
from memdt.figures.parts import style
from memdt.results.published import Cell
from memdt.settings.pages import FigureSettings

SEGMENTS = (1, 2, 3, 5, 9, 12, 30, 100)
# Successes of 10 episodes under seeds 0, 1, 2: means 0.6, 0.7, 0.8.
SUCCESSES = (6, 7, 8)


def episodes(
    variants: tuple[str, ...] = ("short", "long"),
    conditions: tuple[str, ...] = ("as_published", "noise"),
) -> pd.DataFrame:
    cases = itertools.product(variants, enumerate(SUCCESSES), conditions, SEGMENTS, range(10))
    return pd.DataFrame(
        {
            "experiment": "maze",
            "variant": variant,
            "seed": seed,
            "condition": condition,
            "segments": segments,
            "episode": episode,
            "environment_seed": episode,
            "return": float(episode < good),
            "steps": 30 * segments,
            "success": int(episode < good),
        }
        for variant, (seed, good), condition, segments, episode in cases
    )


def curves() -> pd.DataFrame:
    """Two seeds, stages of 4 and 2 updates, a row each."""
    cases = itertools.product(
        ("short", "long"), (0, 1), ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2))
    )
    return pd.DataFrame(
        {
            "experiment": "maze",
            "variant": variant,
            "seed": seed,
            "stage": stage,
            "update": update,
            "segments": stage,
            "loss": 1.0 / (stage * update),
            "accuracy": 0.2 * update,
            "learning_rate": 0.1,
            "gradient_norm": 1.0,
        }
        for variant, seed, (stage, update) in cases
    )


def attention(seed: int = 0) -> AttentionRecord:
    """Two segments of two steps, two layers, two heads, 1 memory token, 2 cached states."""
    weights = np.zeros((2, 2, 2, 8, 10), dtype=np.float32)
    weights[..., 0] = 0.1
    weights[1, 0, 0, 5, 7] = 0.75
    weights[1, 0, 1, 5, 7] = 0.25
    return AttentionRecord("maze", "short", seed, weights, 1, 2, 2, 0, 1, 3)


# Twelve episodes, six of each group: 0, 2, ... are red. Segments of 4 steps; the hint is seen in
# steps 0 to 2. Whoever is not dead takes an item at every odd step: right ones up to step 12, from
# then on wrong ones. Episode e of a long run ends after 20 steps, of a short one after 9.
LENGTHS = {"short": 9, "long": 20}


def recording(variant: str = "long", seed: int = 0) -> RecordedRun:
    """Its memory is the group's sign at every border, turned round from the third border on."""
    length, episodes = LENGTHS[variant], np.arange(12)
    groups = np.where(episodes % 2, "green", "red")
    times = np.arange(length)
    gains = np.stack([(times % 2) * (times < 12), (times % 2) * (times >= 12)], axis=1)
    counts = np.concatenate([np.zeros((1, 2), int), gains.cumsum(axis=0)])
    signs = np.where(groups == "red", 1.0, -1.0)
    drawn = np.random.default_rng(seed)
    memory = np.stack(
        [
            np.stack([sign * signs, drawn.normal(size=12)], axis=1)
            for sign in (1, 1, -1, -1)[: (length - 1) // 4]
        ]
    )
    images = [picture(episode, step) for episode in (0, 1) for step in range(0, length, 3)]
    return RecordedRun(
        "maze", variant, seed,
        Recording(
            seeds=episodes,
            groups=groups,
            lengths=np.full(12, length),
            measure_names=np.array(["right_items", "wrong_items"]),
            measures=np.repeat(counts[:, None], 12, axis=1),
            actions=np.zeros((length, 12), int),
            returns_to_go=np.zeros((length, 12)),
            memory=memory,
            segment_length=np.array(4),
            hint=np.array([0, 3]),
            filmed=np.array([0, 1]),
            film_every=np.array(3),
            frame_bytes=np.array([len(image) for image in images]).reshape(2, -1),
            frames=np.frombuffer(b"".join(images), np.uint8),
        ),
    )  # fmt: skip


def picture(episode: int, step: int) -> bytes:
    """Brighter with every step, redder or greener by the episode."""
    shade = np.zeros((36, 64, 3), np.uint8)
    shade[..., episode] = 60 + 8 * step
    return compressed(shade)


def published(variant: str, segments: int, mean: float) -> Cell:
    return Cell(
        paper="rate", version="1", item="Table 2", page="6", experiment="maze", variant=variant,
        condition="as_published", segments=segments, metric="success", unit="rate", mean=mean,
        spread=0.01, spread_kind="sem", seeds=10, episodes=100, margin=0.05, in_scope=True, note="",
    )  # fmt: skip


CHOICES = {"right": "right_items", "wrong": "wrong_items"}
CHOSEN: dict[str, dict[str, Any]] = {
    "choices_over_time": CHOICES,
    "film_strip": CHOICES,
    "performance_profile": {"metric": "success"},
    "scores_by_set": {"metric": "success", "reference": {"random": 0.5}},
}


def inputs(name: str, options: dict[str, Any] | None = None, **changes: Any) -> FigureInputs:
    settings = FigureSettings(
        module=name,
        title="Title",
        caption="Caption",
        experiments=("maze",),
        options=CHOSEN.get(name, {}) | (options or {}),
    )
    facts = {
        ("maze", "short"): VariantFacts(3, 30, {"model.memory_tokens": 5}),
        ("maze", "long"): VariantFacts(9, 30, {"model.memory_tokens": 15}),
    }
    given: dict[str, Any] = {
        "episodes": episodes(),
        "curves": curves(),
        "attention": (attention(),),
        "recordings": tuple(recording(v, s) for v in LENGTHS for s in (0, 1, 2)),
        "published": (published("short", 2, 0.9), published("elsewhere", 2, 0.1)),
        "facts": facts,
        "dataset_returns": {("maze", "short"): np.array([0.0, 0.25, 0.5, 0.75, 4.0])},
    }
    return FigureInputs(name, settings, **{**given, **changes})


def drawn(given: FigureInputs) -> Figure:
    module = discovery.load("memdt.figures", given.name)
    with mpl.rc_context(style.settings(given.name)):
        figure = module.draw(module.data(given), given)
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
    return figure


def data_of(name: str, options: dict[str, Any] | None = None, **changes: Any) -> pd.DataFrame:
    frame: pd.DataFrame = discovery.load("memdt.figures", name).data(
        inputs(name, options, **changes)
    )
    return frame
