"""Dry runs plan exactly the jobs that the YAML files ask for, counted here without memdt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = Path(__file__).parents[2] / "workflow" / "config"
KINDS = {"dataset": "datasets", "train": "training", "evaluate": "evaluations"}
COLUMNS = ("datasets", "training", "evaluations", "others", "jobs")
EXPERIMENTS = sorted(path.stem for path in (CONFIG / "experiments").glob("*.yaml"))


@cache
def read(kind: str, name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIG / kind / f"{name}.yaml").read_text(encoding="utf-8"))


def dotted(block: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in block.items():
        nested = isinstance(value, dict)
        flat |= dotted(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def line(experiment: str, variant: str) -> list[tuple[str, str]]:
    """The variant, and those whose checkpoints it takes, one after the other."""
    entry = read("experiments", experiment)["variants"][variant]
    source = entry.get("checkpoint_of") or entry.get("start_from")
    return [(experiment, variant), *(line(*source.split("/")) if source else [])]


def environment(experiment: str, variant: str) -> str:
    """The configured environment that a variant plays, and on which it is trained if it is."""
    content = read("experiments", experiment)
    entry = content["variants"][variant]
    if "checkpoint_of" in entry and "environment" not in entry:
        return environment(*entry["checkpoint_of"].split("/"))
    return entry.get("environment", content["environment"])


def family(environment_name: str) -> list[str]:
    """The environments that a file extends, the most general first, and itself."""
    base = read("environments", environment_name).get("extends")
    return [*(family(base) if base else []), environment_name]


def setting(scale: str, experiment: str, variant: str, key: str) -> Any:
    """The last layer that says something: environment, model, experiment, variant, scale."""
    content, budgets = read("experiments", experiment), read("scales", scale)
    entry, environments = content["variants"][variant], family(environment(experiment, variant))
    if "checkpoint_of" in entry and key.startswith("training."):
        return setting(scale, *entry["checkpoint_of"].split("/"), key)
    model = next(
        one["model"]
        for name, of_it in line(experiment, variant)
        if "model" in (one := read("experiments", name)["variants"][of_it])
    )
    file = read("models", model)
    blocks = [read("environments", member) for member in environments] + [file.get("defaults", {})]
    blocks += [file.get("environments", {}).get(member, {}) for member in environments]
    blocks += [content.get("set", {}), entry.get("set", {}), budgets.get("defaults", {})]
    name = file.get("module", model)
    blocks.append(budgets.get("models", {}).get(name, {}))
    blocks += [budgets.get("environments", {}).get(member, {}) for member in environments]
    special = budgets.get("models_by_environment", {})
    blocks += [special.get(member, {}).get(name, {}) for member in environments]
    blocks.append({} if budgets.get("meaningless") else entry.get("set", {}))
    blocks.append(budgets.get("experiments", {}).get(experiment, {}))
    value = None
    for block in blocks:
        value = dotted(block).get(key, value)
    return value


def dataset(environment_name: str) -> dict[str, Any]:
    """The dataset block of an environment, dotted; a file that names another source begins anew."""
    block: dict[str, Any] = {}
    for name in family(environment_name):
        mine = {
            k: v for k, v in dotted(read("environments", name)).items() if k.startswith("dataset.")
        }
        block = (
            mine
            if mine.get("dataset.source") not in (None, block.get("dataset.source"))
            else block | mine
        )
    return block


def addresses(environment_name: str) -> list[str]:
    """What must be fetched for a dataset."""
    block = dataset(environment_name)
    if block.get("dataset.source") == "d4rl":
        return [block["dataset.id"]]
    parts = block.get("dataset.parts", [])
    return [part["weights"]["address"] for part in parts if "weights" in part]


def made_of(environment_name: str) -> str | None:
    """Whether an agent is trained for a dataset."""
    source = dataset(environment_name).get("dataset.source")
    return "agent" if source == "gymnasium_agent" and not addresses(environment_name) else None


def plays_only(experiment: str, variant: str) -> bool:
    """Whether a variant plays the checkpoints of another one."""
    return "checkpoint_of" in read("experiments", experiment)["variants"][variant]


def expected(scale: str, experiments: list[str]) -> Counter[str]:
    """Jobs by rule, for a scale at which nothing has been made."""
    counts = Counter(all=1, claims=1, metrics=1, report=1)
    trained: set[tuple[str, str, int]] = set()
    played: set[str] = set()
    counts["table"] = len(experiments)
    only = read("scales", scale).get("only", {})
    for experiment in experiments:
        variants = read("experiments", experiment)["variants"]
        for variant in only.get(experiment, variants):
            seeds = setting(scale, experiment, variant, "seeds")
            counts["evaluate"] += len(seeds)
            runs = line(experiment, variant)
            trains = [one for one in runs if not plays_only(*one)]
            played |= {environment(*one) for one in trains}
            trained |= {(*one, seed) for one in runs for seed in seeds}
    counts["dataset"] = len(played)
    counts["agent"] = len({name.split("_")[0] for name in played if made_of(name) == "agent"})
    counts["fetch"] = len({one for name in played for one in addresses(name)})
    for experiment, variant, _ in trained:
        if "checkpoint_of" not in read("experiments", experiment)["variants"][variant]:
            segments = setting(scale, experiment, variant, "training.segments")
            chain = setting(scale, experiment, variant, "training.curriculum")
            horizons = setting(scale, experiment, variant, "training.horizons")
            counts["train"] += len(horizons) if horizons else segments if chain else 1
    figures = yaml.safe_load((CONFIG / "figures.yaml").read_text(encoding="utf-8"))
    drawn = [one for one in figures.values() if set(one["experiments"]) <= set(experiments)]
    counts["figure"] = len(drawn)
    looked_at = [one for one in drawn if one.get("inputs") == "attention"]
    counts["attention"] = len(
        {(*one["experiments"], one["options"]["variant"]) for one in looked_at}
    )
    filmed = [one for one in drawn if one.get("inputs") == "recordings"]
    recorded_runs = {run for one in filmed for run in recorded(scale, one)}
    recorded_runs |= {run for experiment in experiments for run in counted(scale, experiment)}
    counts["record"] = len(recorded_runs)
    counts["clip"] = sum(one.get("clip", False) for one in drawn)
    return +counts


def recorded(scale: str, figure: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    """The runs that a figure shows: the variants and the seed that it names, else all."""
    options = figure.get("options", {})
    for experiment in figure["experiments"]:
        variants = read("experiments", experiment)["variants"]
        only = read("scales", scale).get("only", {}).get(experiment, variants)
        for variant in [v for v in options.get("variants", variants) if v in only]:
            for seed in setting(scale, experiment, variant, "seeds"):
                if options.get("seed", seed) == seed:
                    yield experiment, variant, seed


def counted(scale: str, experiment: str) -> Iterator[tuple[str, str, int]]:
    """All runs of an experiment whose table counts what comes after some step."""
    metrics = read("experiments", experiment).get("table", {}).get("metric", [])
    if " after step " in " ".join([metrics] if isinstance(metrics, str) else metrics):
        yield from recorded(scale, {"experiments": [experiment]})


def planned(output: str) -> Counter[str]:
    """The table of jobs that Snakemake prints first."""
    table = output.split("Job stats:")[1].split("total")[0]
    return Counter({rule: int(n) for rule, n in re.findall(r"^(\w+)\s+(\d+)\s*$", table, re.M)})


def forecast(output: str) -> Counter[str]:
    """The row of `memdt plan` over all experiments."""
    (row,) = (line for line in output.splitlines() if line.startswith("all "))
    numbers = [int(text.replace(",", "").replace("·", "0")) for text in row.split()[1:6]]
    return Counter(dict(zip(COLUMNS, numbers, strict=True)))


def as_forecast(jobs: Counter[str]) -> Counter[str]:
    """Jobs by rule in the words of `memdt plan`; `all` is no job."""
    counts: Counter[str] = Counter()
    for rule, number in (jobs - Counter(all=1)).items():
        counts[KINDS.get(rule, "others")] += number
        counts["jobs"] += number
    return counts


SLOW = pytest.mark.slow
SCALES = [pytest.param("smoke", marks=SLOW), "quick", pytest.param("paper", marks=SLOW)]


@pytest.mark.parametrize("scale", SCALES)
def test_every_experiment_is_planned_as_the_settings_say_and_as_memdt_plan_counts(project, scale):
    done = project.snakemake("-n", "-q", "rules", "--config", f"scale={scale}", "experiments=all")
    assert done.returncode == 0, done.stderr
    assert planned(done.stdout) == expected(scale, EXPERIMENTS)
    if scale != "quick":
        plan = project.done("memdt", "plan", "--scale", scale)
        assert forecast(plan) == as_forecast(planned(done.stdout))


def test_memdt_plan_counts_the_jobs_of_one_experiment(project):
    named = "tmaze_figure_5"
    done = project.snakemake("-n", "--config", "scale=paper", f"experiments={named}")
    plan = project.done("memdt", "plan", "--scale", "paper", "--experiments", named)
    assert forecast(plan) == as_forecast(planned(done.stdout))


def test_a_bare_call_plans_what_config_yaml_names(project):
    chosen = yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8"))
    done = project.snakemake("-n")
    assert done.returncode == 0, done.stderr
    assert planned(done.stdout) == expected(chosen["scale"], chosen["experiments"])


def test_smoke_takes_every_experiment_unless_some_are_named(project):
    done = project.snakemake("-n", "-q", "rules", "--", "smoke")
    offline = [name for name in EXPERIMENTS if "fetch" not in expected("smoke", [name])]
    counts = expected("smoke", offline) - Counter(all=1) + Counter(smoke=1)
    assert planned(done.stdout) == counts


def test_several_experiments_may_be_named_with_commas(project):
    named = ["tmaze_table_2", "tmaze_memory_tokens"]
    done = project.snakemake("-n", "--config", f"experiments={','.join(named)}")
    assert planned(done.stdout) == expected("quick", named)


def test_one_table_of_another_scale_needs_no_more_than_its_own_runs(project):
    done = project.snakemake("-n", "reports/paper/tables/tmaze_figure_5.csv")
    counts = planned(done.stdout)
    assert counts["table"] == 1
    assert counts["evaluate"] == 20  # rate-3 and rate-7, ten seeds each
    assert counts["train"] == 100  # their three and seven stages
    assert counts["figure"] == counts["claims"] == counts["metrics"] == counts["report"] == 0


def test_longer_chains_are_started_first(project):
    """The last job of the longest chain decides when all is done."""
    from memdt.settings.runs import Run
    from memdt.workflow import plan

    runs = [Run("tmaze_table_2", variant, 0) for variant in ("rate-7", "rate-3")]
    left = [[plan.critical_path("paper", run, stage) for stage in (1, 2, 3)] for run in runs]
    assert left[0] > left[1]
    assert all(chain == sorted(chain, reverse=True) for chain in left)


def test_datasets_come_before_every_training(project):
    """Chains of trainings wait for them, so that one that is late is the last of all."""
    experiments = "experiments=[tmaze_extrapolation,vizdoom_curriculum]"
    done = project.snakemake("-n", "--config", "scale=paper", experiments)
    lines = re.findall(r"^rule (\w+):\n(?: +.*\n)*? +priority: (\d+)$", done.stdout, re.M)
    priorities = {
        rule: [int(number) for name, number in lines if name == rule] for rule, _ in lines
    }
    assert len(priorities["dataset"]) == 3
    assert min(priorities["dataset"]) > max(priorities["train"]) > 0


def test_evaluations_wait_for_training_and_longer_ones_go_first():
    from memdt.settings.runs import Run
    from memdt.workflow import plan

    long = plan.evaluation_share("quick", "tmaze_figure_5", "rate-7")
    short = plan.evaluation_share("quick", "tmaze_memory_tokens", "tokens_1")
    last_stage = plan.critical_path("quick", Run("tmaze_table_2", "rate-3", 0), 3)
    assert 0 < short < long < 1 <= last_stage
