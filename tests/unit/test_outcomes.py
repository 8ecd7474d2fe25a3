"""What came of an episode, in environments that know more or less of it: columns and values."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from made_up import counter
from made_up.episodes import played
from memdt.environments.outcomes import OUTCOMES
from memdt.environments.task import Task
from memdt.errors import UserError
from memdt.evaluation import episode_table, evaluate
from memdt.evaluation.episode_table import ATTENTION
from memdt.evaluation.evaluate import EvaluationJob, evaluate_run
from memdt.results import metric_names
from memdt.settings.schema import RunSettings
from memdt.training.train import build_policy

LIMITS = {"even": (0.0, 10.0), "odd": (5.0, 6.0)}  # returns that count as 0 and 100
EPISODES = 6


def by_parity(settings: Any, seeds: Any) -> list[str]:
    return ["odd" if seed % 2 else "even" for seed in seeds]


def range_of(settings: Any, group: str) -> tuple[float, float]:
    return LIMITS[group]


def rich(returns: Any, terminated: Any) -> Any:
    return returns >= 8


SCORED = {"score_range": range_of, "group": by_parity}
MODULES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nothing": ({}, ("group",)),
    "success": ({"success": rich}, ("success", "group")),
    "score": (SCORED, ("score", "group")),
    "both": ({**SCORED, "success": rich}, ("success", "score", "group")),
    "measures": ({**SCORED, "MEASURES": ("acted",)}, ("score", "group", "acted")),
}


@pytest.fixture(params=MODULES)
def table(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """The name of a case, and the episodes.csv of a random player there."""
    counter.install(monkeypatch, counter.module(**MODULES[request.param][0]))
    monkeypatch.setattr(evaluate, "load_policy", lambda run, checkpoint: build_policy(run, 0))
    evaluate_run(EvaluationJob(settings(), 0, Path("none"), tmp_path / "episodes.csv"))
    return request.param, tmp_path / "episodes.csv"


def settings() -> RunSettings:
    return RunSettings.model_validate(
        {
            "environment": {"name": "counter", "module": "counter", "parameters": {}},
            "dataset": played([8], 2),
            "segment_length": 4,
            "model": {"name": "random"},
            "training": {
                "segments": 2, "updates_per_stage": (1,), "batch_size": 2,
                "learning_rate": 1e-3, "weight_decay": 0.0,
            },
            "evaluation": {
                "segments": (2,), "episodes": EPISODES, "target_return": 1.0,
                "action_selection": "sampled",
            },
            "seeds": (0,),
        }
    )  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_columns_are_those_of_what_the_environment_knows(table: tuple[str, Path]) -> None:
    case, path = table
    header = path.read_text(encoding="utf-8").partition("\n")[0]
    assert header.split(",") == [*episode_table.FIRST, *MODULES[case][1]]


def test_values_are_worked_out_from_the_return_and_the_group(table: tuple[str, Path]) -> None:
    _, path = table
    rows = rows_of(path)
    assert [int(row["environment_seed"]) for row in rows] == list(range(EPISODES))
    assert [int(row["steps"]) for row in rows] == [5 + seed for seed in range(EPISODES)]
    assert len({row["return"] for row in rows}) > 2
    for seed, row in enumerate(rows):
        earned = float(row["return"])
        if "success" in row:
            assert row["success"] == str(int(earned >= 8))
        if "score" in row:
            low, high = LIMITS[by_parity(None, [seed])[0]]
            assert row["group"] == by_parity(None, [seed])[0]
            assert float(row["score"]) == pytest.approx(100 * (earned - low) / (high - low))
        else:
            assert row["group"] == "all"
        if "acted" in row:
            assert 0 < int(row["acted"]) <= int(row["steps"])


def test_scores_are_those_of_each_group() -> None:
    task = Task(counter.module(**SCORED), counter.Settings())
    returns, groups = np.array([0.0, 10.0, 5.0, 6.0, 4.0]), ["even", "even", "odd", "odd", "odd"]
    judged = task.judge(returns, np.ones(5, bool), groups)
    assert list(judged) == ["score"]
    assert judged["score"].tolist() == [0, 100, 0, 100, -100]


def test_outcomes_are_listed_in_their_order() -> None:
    for names, columns in MODULES.values():
        outcomes = Task(counter.module(**names), counter.Settings()).outcomes
        assert outcomes == tuple(name for name in columns if name in OUTCOMES)


def test_success_is_refused_where_nobody_knows_it() -> None:
    task = Task(counter.module(), counter.Settings())
    assert task.judge(np.zeros(1), np.ones(1, bool), ["all"]) == {}
    with pytest.raises(UserError, match="does not say which episodes succeed"):
        task.success(np.zeros(1), np.ones(1, bool))


def test_what_a_module_leaves_out_is_filled_in() -> None:
    task = Task(counter.module(), counter.Settings())
    assert task.name == "counter"
    assert task.groups([3, 4]) == ["all", "all"]
    assert (task.rows_at_once, task.measures, task.hint_steps) == (1000, (), range(1))
    assert task.lengthened(7) is task
    assert task.spaces.observation == counter.Counter.observation_space
    assert task.spaces.action_outputs == 4
    vector = task.vector(2, 7)
    assert vector.num_envs == 2
    assert task.missing == []
    assert Task(counter.module(REQUIRES=("json", "no_such")), task.settings).missing == ["no_such"]


def test_numbers_are_written_short_and_whole_where_they_are_whole() -> None:
    row = {
        "condition": "as_published", "segments": 2, "episode": np.int64(0), "environment_seed": 7,
        "return": 1 / 3, "steps": np.int64(12), "success": np.True_, "score": 2e7 / 3,
        "group": "red", "acted": 3.0,
    }  # fmt: skip
    assert episode_table.text([row], tuple(OUTCOMES), ("acted",)) == (
        "condition,segments,episode,environment_seed,return,steps,success,score,group,acted\n"
        "as_published,2,0,7,0.333333,12,1,6.66667e+06,red,3\n"
    )


def test_columns_are_known_without_importing_the_module(config: Path) -> None:
    folder = Path("mine/environments")
    folder.mkdir(parents=True)
    file = config / "config.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "\nplugins: [mine]\n", encoding="utf-8")
    functions = {"success": "returns, terminated", "score_range": "settings, group"}
    for name, defined in {
        "bare_here": (), "solved_here": ("success",), "scored_here": ("score_range",),
        "judged_here": ("score_range", "success"),
    }.items():  # fmt: skip
        lines = [f"def {one}({functions[one]}): ...\n" for one in defined]
        text = f"raise RuntimeError('imported')\nMEASURES = ('acted',)\n{''.join(lines)}"
        (folder / f"{name}.py").write_text(text)
    known = {name: metric_names.columns_of(name) for name in (
        "bare_here", "solved_here", "scored_here", "judged_here",
    )}  # fmt: skip
    assert all(columns[-len(ATTENTION) :] == ATTENTION for columns in known.values())
    assert {name: columns[: -len(ATTENTION)] for name, columns in known.items()} == {
        "bare_here": ("return", "steps", "acted"),
        "solved_here": ("success", "return", "steps", "acted"),
        "scored_here": ("score", "return", "steps", "acted"),
        "judged_here": ("success", "score", "return", "steps", "acted"),
    }
