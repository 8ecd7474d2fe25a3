"""A small project with made-up results, and what its report shows."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from PIL import Image

from memdt import paths, provenance
from memdt.figures.clips import encoded
from memdt.figures.drawing import draw_figure
from memdt.figures.interface import Clip
from memdt.report import scale_comparison
from memdt.report.render import render
from memdt.results.budgets import budgets
from memdt.results.claims import CLAIM_COLUMNS
from memdt.results.metrics import write_metrics
from memdt.results.published import published_cells
from memdt.results.results import load_episodes
from memdt.results.tables import build_table, write_table
from memdt.settings import files, layers, pages, resolve

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ("walk", "later")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SECTIONS = (
    "head", "claims", "tables", "figures", "memory", "training", "datasets", "deviations",
    "provenance",
)  # fmt: skip

SIZES = {
    "model.layers": 4, "model.heads": 2, "model.width": 16, "model.head_width": 8,
    "model.feed_forward_width": 0, "model.memory_tokens": 2, "training.updates_per_stage": [50],
    "training.batch_size": 4, "training.learning_rate": 0.001, "training.weight_decay": 0.0,
    "training.segments": 2, "evaluation.segments": [1, 2], "evaluation.episodes": 10,
    "evaluation.target_return": 1.0, "seeds": [0, 1, 2, 3],
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "environments/maze.yaml": {
        "environment.module": "tmaze",
        "segment_length": 6,
        "dataset": {"lengths": [6, 12], "episodes_per_length": 3},
    },
    "models/rate.yaml": {"defaults": SIZES},
    "scales/full.yaml": {"title": "as published", "reduced": False},
    "scales/tiny.yaml": {
        "title": "reduced",
        "reduced": True,
        "defaults": {"model.layers": 1, "seeds": [0, 1, 2]},
    },
    "scales/nothing.yaml": {
        "title": "a layout check",
        "reduced": True,
        "meaningless": True,
        "defaults": {"model.layers": 1, "seeds": [0]},
    },
    "experiments/walk.yaml": {
        "title": "Walking & turning <b>",
        "answers": {"paper": "rate", "item": "Table 2"},
        "environment": "maze",
        "note": "See `full_context` and D3.",
        "variants": {"near": {"model": "rate"}, "far": {"model": "rate"}},
    },
    "experiments/later.yaml": {
        "title": "Never made",
        "answers": {"paper": "rate", "item": "Figure 9"},
        "environment": "maze",
        "variants": {"near": {"checkpoint_of": "walk/near"}},
    },
    "experiments/unasked.yaml": {
        "title": "Not asked for",
        "answers": {"paper": "rate", "item": "Figure 8"},
        "environment": "maze",
        "variants": {"near": {"model": "rate"}},
    },
    "figures.yaml": {
        "lines": {
            "module": "success_against_segments",
            "title": "Lines <i>",
            "caption": "A caption.",
            "experiments": ["walk"],
            "answers": {"paper": "rate", "item": "Figure 4"},
        },
        "edits": {
            "module": "memory_edits", "title": "Edits", "caption": "", "experiments": ["later"],
        },
        "maps": {
            "module": "attention_map", "title": "Maps", "caption": "", "experiments": ["walk"],
            "inputs": "attention",
        },
        "learning": {
            "module": "training_curves", "title": "Learning", "caption": "",
            "experiments": ["walk"], "inputs": "curves",
        },
    },
}  # fmt: skip
DEVIATIONS = """# Deviations

## D3: A `spare` step

- **What:** One step <more>.
- **Why:** Because.
- **Effect on numbers:** None.
- **Evidence:** Seen.
"""
HEADER = (
    "paper,version,item,page,experiment,variant,condition,segments,metric,unit,mean,spread,"
    "spread_kind,seeds,episodes,margin,in_scope,note\n"
)


def forget_settings() -> None:
    """Settings are read once; each made-up project has its own."""
    cached: list[Callable[..., Any]] = [
        layers.read_yaml,
        files.experiment_file,
        files.scale_file,
        files.model_file,
        pages.figures,
        resolve.resolve,
        resolve.resolve_dataset,
        scale_comparison.published_scale,
    ]
    for function in cached:
        function.cache_clear()  # type: ignore[attr-defined]


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def run(scale: str, seeds: tuple[int, ...]) -> None:
    """What the runs and the steps before the report would have written."""
    for variant in ("near", "far"):
        for seed in seeds:
            run_once(scale, variant, seed)
    variants = dict.fromkeys(("near", "far"), seeds)
    table = build_table(
        "walk",
        files.experiment_file("walk").table,
        load_episodes(scale, "walk", variants),
        published_cells(),
        budgets(
            {variant: [stages(scale, variant, seed) for seed in seeds] for variant in variants}
        ),
    )
    write_table(table, paths.table(scale, "walk"))
    claim = {
        "id": "R1", "text": "It <script>holds</script>", "sentence": "R1", "source": "RATE 5",
        "origin": "paper", "experiment": "walk", "test": "always", "verdict": "holds", "seeds": "3",
        "fewest_seeds": "6", "power": "at best 6 seeds", "p_holds": "0.0300", "p_fails": "1.0000",
        "evidence": "a; b",
    }  # fmt: skip
    frame = pd.DataFrame([claim], columns=list(CLAIM_COLUMNS))
    frame.to_csv(paths.claims(scale), index=False)
    write_metrics(scale, ["walk"], paths.metrics(scale))
    draw_figure("lines", scale)


def stages(scale: str, variant: str, seed: int) -> list[Path]:
    return [paths.stage(scale, "walk", variant, seed, k) / "manifest.json" for k in (1, 2)]


def run_once(scale: str, variant: str, seed: int) -> None:
    folder = paths.run(scale, "walk", variant, seed)
    episodes = "condition,segments,episode,environment_seed,return,steps,success,group\n"
    for segments in (1, 2):
        good = 8 + seed % 2
        rows = (f"as_published,{segments},{e},{e},1,6,{int(e < good)},all\n" for e in range(10))
        episodes += "".join(rows)
    put(folder / "episodes.csv", episodes)
    job = {
        "format": provenance.FORMAT, "source_digest": "5" * 16, "seed": seed, "python": "3.11.9",
        "packages": {"torch": "2.13.0", "numpy": f"2.4.{seed}"}, "threads": 1, "cpu": "fast",
    }  # fmt: skip
    took = {
        "git_commit": COMMIT, "git_dirty": True, "platform": "Linux", "resumed": 1,
        "wall_seconds": 60.0, "cpu_seconds": 50.0, "peak_memory_bytes": 2**20 * (100 + seed),
        "finished": f"2026-01-02T03:04:0{seed}+00:00",
    }  # fmt: skip
    provenance.write_manifest(folder / "evaluation_manifest.json", job, took)
    for stage in (1, 2):
        trained = {**job, "stage": stage, "parameters": 1234, "updates": 50}
        trained |= {"steps_seen": 3000 * stage, "gradient_segments": stage}
        if variant == "far":
            trained["trained_parameters"] = 40
        speed = {**took, "updates_per_second": 10.0 * stage}
        provenance.write_manifest(folder / f"stage_{stage}" / "manifest.json", trained, speed)


class Page(HTMLParser):
    """Checks that tags are closed in order; collects ids, addresses of loads, and flat text."""

    VOID = frozenset({"meta", "br", "img", "hr", "link", "input", "source"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            loads = name in ("src", "srcset", "data", "poster", "action", "background")
            if loads or (name.endswith("href") and tag != "a"):
                self.loads.append(value or "")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def report(scale: str = "tiny") -> str:
    return render(scale, EXPERIMENTS).read_text(encoding="utf-8")


def cost_page(scale: str = "tiny") -> str:
    """As the last report left it."""
    return paths.report(scale).with_name("cost.html").read_text(encoding="utf-8")


def section(text: str, name: str) -> str:
    """From the element with this id to the next section of the page."""
    start = text.index(f'id="{name}"')
    end = text.find("\n<section id=", start)
    return text[start:end] if end > 0 else text[start:]


def add_clip(folder: Path, scale: str = "tiny") -> bytes:
    """A figure of the project gets an animated picture of two frames."""
    figures = {**CONFIG["figures.yaml"]}
    figures["lines"] = {**figures["lines"], "clip": True}
    put(folder / paths.CONFIG / "figures.yaml", yaml.safe_dump(figures, sort_keys=False))
    forget_settings()
    frames = [Image.new("RGB", (40, 20), shade) for shade in ("#102030", "#a0b0c0")]
    path = paths.clip(scale, "lines")
    path.write_bytes(encoded(Clip(frames, 100)))
    return path.read_bytes()
