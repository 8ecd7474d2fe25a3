"""The model card of an exported policy: Markdown under YAML, as the Hugging Face Hub reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from memdt import paths
from memdt.evaluation.policy_settings import PolicySettings
from memdt.settings.files import scale_file

LOAD = """```python
import memdt

policy = memdt.load("PATH OF THIS FOLDER")
environment = policy.make_environment()
observation, _ = environment.reset(seed=0)
policy.reset()
reward, ended = 0.0, False
while not ended:
    action = policy.act(observation, reward)
    observation, reward, terminated, truncated, _ = environment.step(action)
    ended = terminated or truncated
```"""


@dataclass(frozen=True)
class Score:
    """The mean of an outcome over the episodes of one condition and length."""

    condition: str
    segments: int
    outcome: str
    mean: float
    episodes: int


def text(
    settings: PolicySettings, scores: Sequence[Score], origin: Mapping[str, Any], run: Path
) -> str:
    """Return the card of a run; ``origin``: its manifests."""
    parts = [
        f"---\n{yaml.safe_dump(_front(settings, scores), sort_keys=False)}---",
        f"# {_title(settings)}",
        *_warnings(origin, run),
        f"## Use\n\n{LOAD}",
        _scores(settings, scores),
        _training(settings, origin["training"]),
        _licence(origin["training"]),
    ]
    return "\n\n".join(parts) + "\n"


def _title(settings: PolicySettings) -> str:
    return f"{settings.model['name']} on {settings.module}"


def _front(settings: PolicySettings, scores: Sequence[Score]) -> dict[str, Any]:
    """The metadata of the card, among it the scores under the first condition."""
    plain = [score for score in scores if score.condition == scores[0].condition]
    metrics = [
        {
            "type": score.outcome,
            "value": round(score.mean, 4),
            "name": f"mean {score.outcome}, {score.segments} segments, {score.episodes} episodes",
        }
        for score in plain
    ]
    environment = {"name": settings.module, "type": settings.module}
    result = {"task": {"type": "reinforcement-learning"}, "dataset": environment}
    return {
        "license": "mit",
        "library_name": "memdt",
        "tags": ["reinforcement-learning", "offline-reinforcement-learning", "memory"],
        "model-index": [
            {"name": _title(settings), "results": [{**result, "metrics": metrics}]},
        ],
    }


def _warnings(origin: Mapping[str, Any], run: Path) -> list[str]:
    """What a reader of the scores must know first."""
    seed = origin["training"]["seed"]
    lines = [
        f"One policy, trained with seed {seed}. Its scores describe this policy; they are no "
        "estimate of how well the method does over seeds."
    ]
    parts = run.parts[-4:]
    known = len(parts) == 4 and (paths.CONFIG / "scales" / f"{parts[0]}.yaml").is_file()
    if known and scale_file(parts[0]).reduced:
        lines.append(
            f"**Reduced scale ({parts[0]}):** trained with less than the published budget. These "
            "are not the paper's numbers."
        )
    return lines


def _scores(settings: PolicySettings, scores: Sequence[Score]) -> str:
    rows = [
        f"| {s.condition} | {s.segments} | {s.outcome} | {s.mean:.3f} | {s.episodes} |"
        for s in scores
    ]
    about = (
        f"Asked for a return of {settings.target_return:g}, {settings.action_selection} actions, "
        f"segments of {settings.segment_length} steps."
    )
    head = "| condition | segments | outcome | mean | episodes |\n|---|--:|---|--:|--:|"
    return "\n".join([f"## Scores\n\n{about}\n", head, *rows])


def _training(settings: PolicySettings, manifest: Mapping[str, Any]) -> str:
    lines = {
        "parameters": f"{manifest['parameters']:,}",
        "trained on": f"episodes of at most {settings.trained_segments} segments",
        "dataset": f"source `{_source(manifest)}`",
        "settings digest": f"`{manifest['settings_digest']}`",
        "source digest": f"`{manifest['source_digest']}`",
        "commit": f"`{manifest['git_commit']}`",
        "weights (SHA-256)": f"`{settings.weights}`",
    }
    rows = [f"| {name} | {value} |" for name, value in lines.items()]
    head = (
        "## Training\n\nAll settings and versions are in `provenance.json`.\n\n|  |  |\n|---|---|"
    )
    return "\n".join([head, *rows])


def _source(manifest: Mapping[str, Any]) -> str:
    return str(manifest["settings"]["dataset"]["dataset"]["source"])


def _licence(manifest: Mapping[str, Any]) -> str:
    own = "MIT, see `LICENSE`."
    if _source(manifest) != "played":
        own += " The episodes that it was trained on come from elsewhere, under their own terms."
    return f"## Licence\n\n{own}"
