"""`memdt plan`: jobs, hours and bytes before anything runs, and what was measured after."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from memdt import paths, provenance
from memdt.cli import forecast_table
from memdt.models.building import build_policy
from memdt.progress import duration
from memdt.settings.remembered import resolve
from memdt.settings.resolve import resolve_dataset
from memdt.workflow import costs, disk, forecast
from memdt.workflow.observations import Observation, size_of

ROOT = Path(__file__).parents[2]
EXPERIMENT = """\
title: two variants, and one that is evaluated from another's checkpoints
answers: {paper: rate, item: none}
environment: tmaze
set: {seeds: [0, 1]}
variants:
  memory: {model: rate, set: {training.segments: 2}}
  cloning: {model: behaviour_cloning_mlp, set: {training.segments: 1}}
"""
BORROWED = """\
title: evaluated only
answers: {paper: rate, item: none}
environment: tmaze
set: {seeds: [0, 1]}
variants:
  again: {checkpoint_of: pair/memory}
"""


@pytest.fixture(autouse=True)
def _experiments(config):
    (config / "experiments/pair.yaml").write_text(EXPERIMENT)
    (config / "experiments/borrowed.yaml").write_text(BORROWED)


def finish(stage: int, seed: int, seconds: float, device: str = "cuda") -> None:
    """Leave what a finished stage of pair/memory leaves."""
    folder = paths.stage("paper", "pair", "memory", seed, stage)
    folder.mkdir(parents=True)
    made = provenance.manifest(seed, "cpu", ()) | {"device": device}
    provenance.write_manifest(folder / "manifest.json", made, {"wall_seconds": seconds})


def by_kind(jobs: list[forecast.PlannedJob]) -> Counter[str]:
    return Counter(job.kind for job in jobs)


def test_every_job_is_counted_once():
    jobs = forecast.jobs("paper", ["pair"])
    # Two seeds of two stages and of one; claims, metrics and report beside the table.
    assert by_kind(jobs) == Counter(dataset=1, training=6, evaluation=4, other=4)
    assert len({job.output for job in jobs}) == len(jobs)


def test_training_is_counted_where_only_checkpoints_of_others_are_asked_for():
    jobs = forecast.jobs("paper", ["borrowed"])
    assert by_kind(jobs) == Counter(dataset=1, training=4, evaluation=2, other=4)
    assert {job.row for job in jobs if job.kind == "training"} == {"pair"}
    both = by_kind(forecast.jobs("paper", ["borrowed", "pair"]))
    assert (both["training"], both["evaluation"]) == (6, 6)


def test_only_published_sizes_take_gpu_hours():
    paper = forecast.summed("all", forecast.jobs("paper", ["pair"]))
    assert 0 < paper.gpu_seconds < paper.seconds
    assert forecast.summed("all", forecast.jobs("quick", ["pair"])).gpu_seconds == 0


def test_what_was_measured_replaces_the_estimate_and_corrects_that_of_other_seeds():
    before = {job.output: job.seconds for job in forecast.jobs("paper", ["pair"])}
    one, two = (paths.stage("paper", "pair", "memory", 0, k) / "manifest.json" for k in (1, 2))
    finish(1, seed=0, seconds=3 * before[one])
    jobs = {job.output: job for job in forecast.jobs("paper", ["pair"])}
    assert jobs[one].measured
    assert jobs[one].seconds == pytest.approx(3 * before[one])
    assert jobs[two].seconds == pytest.approx(3 * before[two])
    cloning = paths.stage("paper", "pair", "cloning", 0, 1) / "manifest.json"
    assert jobs[cloning].seconds == before[cloning]
    rows = forecast.summed("pair", [job for job in jobs.values() if job.row == "pair"])
    assert (rows.done, rows.hours_from) == (1, "1 of 10 measured")


def test_hours_of_a_finished_job_are_those_of_the_device_that_it_ran_on():
    finish(1, seed=0, seconds=7200.0, device="cpu")
    finish(2, seed=0, seconds=3600.0)
    done = [job for job in forecast.jobs("paper", ["pair"]) if job.done]
    assert forecast.summed("done", done).gpu_seconds == 3600.0
    assert forecast.summed("done", done).seconds == 10800.0


def test_a_manifest_from_elsewhere_counts_as_done_and_not_as_measured():
    finish(1, seed=0, seconds=1.0)
    paths.stage("paper", "pair", "memory", 0, 1).joinpath("measured.json").unlink()
    (job,) = (job for job in forecast.jobs("paper", ["pair"]) if job.done)
    assert not job.measured
    assert job.seconds == costs.training_seconds("paper", "pair", "memory", 1)


def test_the_longest_chain_is_a_run_with_its_stages_and_its_evaluation():
    jobs = forecast.jobs("paper", ["pair"])
    mine = [job for job in jobs if job.run == ("pair", "memory", 0)]
    seconds, run = forecast.longest_chain(jobs)
    assert run == "pair/memory seed 0"
    assert seconds == pytest.approx(sum(job.seconds for job in mine))
    finish(1, seed=0, seconds=3600.0)
    finish(2, seed=0, seconds=3600.0)
    assert forecast.longest_chain(forecast.jobs("paper", ["pair"]))[1] == "pair/memory seed 1"


def test_weights_are_those_of_the_model_that_is_trained():
    for variant in ("memory", "cloning"):
        settings = resolve("pair", variant, "quick").settings
        counted = sum(p.numel() for p in build_policy(settings, 0).parameters())
        assert disk.parameters(settings) == counted
        assert disk.checkpoint_bytes(settings) == 4 * counted
        assert disk.resume_bytes(settings) == 12 * counted


def test_a_dataset_takes_what_its_file_takes_or_else_what_is_collected():
    (job,) = (job for job in forecast.jobs("smoke", ["pair"]) if job.kind == "dataset")
    # 8 episodes of 6 and 8 of 12 steps; four numbers are seen, an action and a reward.
    assert job.bytes == 8 * (6 + 12) * 6 * 4
    job.output.parent.mkdir(parents=True)
    job.output.write_bytes(b"x" * 123)
    (job,) = (job for job in forecast.jobs("smoke", ["pair"]) if job.kind == "dataset")
    assert (job.done, job.bytes) == (True, 123)


def test_of_a_dataset_the_steps_that_are_kept_take_room():
    dataset = resolve_dataset("tmaze", "smoke").dataset
    seen = Observation((5,), 20)
    # 8 episodes of 6 and 8 of 12 steps, of which 6 are kept; an action and a reward of 4 bytes.
    assert disk.dataset_bytes(size_of(dataset), seen) == 8 * (6 + 12) * 28
    assert disk.dataset_bytes(size_of({**dataset, "keep_steps": 6}), seen) == 16 * 6 * 28


def test_a_row_an_experiment_a_sum_and_what_the_hours_rest_on(capsys):
    forecast_table.show("paper", ["pair"])
    output = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in output.splitlines() if line.strip()}
    assert rows["pair"][2:6] == ["6", "4", "1", "11"]
    assert rows["all"][1:6] == ["1", "6", "4", "4", "15"]
    assert "estimated, no GPU has been measured" in output
    assert "longest chain:" in output
    assert "left" not in rows
    finish(1, seed=0, seconds=1.0)
    forecast_table.show("paper", ["pair"])
    assert "left to do" in capsys.readouterr().out


def test_snakemake_has_noted_how_long_a_dataset_took():
    (job,) = (job for job in forecast.jobs("smoke", ["pair"]) if job.kind == "dataset")
    timing = Path("data/benchmarks/dataset/smoke/tmaze.tsv")
    timing.parent.mkdir(parents=True)
    timing.write_text("s\th:m:s\n12.5\t0:00:12\n")
    job.output.parent.mkdir(parents=True)
    job.output.touch()
    (job,) = (job for job in forecast.jobs("smoke", ["pair"]) if job.kind == "dataset")
    assert job.seconds == 12.5


def test_a_machine_with_half_the_peak_takes_longer_and_the_plan_says_so(monkeypatch, capsys):
    def left(peak: float) -> float:
        jobs = forecast.jobs("quick", ["pair"], costs.CPU.at(peak))
        return forecast.wall_seconds(jobs, cores=2)

    reference = forecast.wall_seconds(forecast.jobs("quick", ["pair"]), cores=2)
    assert left(costs.REFERENCE_PEAK) == pytest.approx(reference)
    assert reference < left(costs.REFERENCE_PEAK / 2) < 2 * reference  # starting takes as long
    monkeypatch.setattr(forecast_table.peak, "peak", lambda: 71e9)
    monkeypatch.setattr(forecast_table, "usable_cores", lambda: 2)
    forecast_table.show("quick", ["pair"])
    output = " ".join(capsys.readouterr().out.split())
    assert f"2 cores of 71 Gflop/s (measured now) if idle: {left(71e9) / 60:,.0f} minutes" in output


def test_no_number_of_cores_shortens_the_longest_chain_or_a_single_job():
    jobs = forecast.jobs("quick", ["pair"])
    assert forecast.wall_seconds(jobs, cores=10_000) == forecast.longest_chain(jobs)[0]
    others = [job for job in jobs if job.kind == "other"]
    assert forecast.wall_seconds(others, cores=10_000) == others[0].seconds > 0


def test_four_stages_hold_every_job_once_and_say_how_long_each_takes(monkeypatch, capsys):
    monkeypatch.setattr(forecast_table.peak, "peak", lambda seconds: 71e9)
    monkeypatch.setattr(forecast_table, "usable_cores", lambda: 2)
    planned = forecast.jobs("quick", ["pair"], costs.CPU.at(71e9))
    stages = forecast.by_stage(planned)
    assert [len(jobs) for jobs in stages.values()] == [1, 9, 6, 4]  # three seeds at this scale
    assert {job.output for jobs in stages.values() for job in jobs} == {
        job.output for job in planned
    }
    forecast_table.show_stages("quick", ["pair"])
    output = capsys.readouterr().out
    training = duration(forecast.wall_seconds(stages["training"], cores=2))
    assert "on 2 cores of 71 Gflop/s if idle:" in output
    assert "  1 datasets: 1 job, not estimated" in output
    assert f"  2 training: 9 jobs, {training} (estimated)" in output
    assert "  4 tables, figures and report: 4 jobs, 10 s (estimated)" in output


def test_a_stage_that_is_finished_is_done(capsys):
    for number, seed in ((1, 0), (1, 1), (2, 0), (2, 1)):
        finish(number, seed, seconds=60.0)
    forecast_table.show_stages("paper", ["borrowed"])
    output = capsys.readouterr().out
    assert "on one GPU:" in output
    assert "  2 training: 4 jobs, done" in output


def test_make_reproduce_forecasts_the_scale_and_experiments_that_it_runs():
    options = "OPTIONS=--config scale=smoke experiments=pair,borrowed"
    command = ["make", "--dry-run", "--directory", str(ROOT), "reproduce", "SEEDS=4", options]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    forecasts = [line for line in output.splitlines() if "memdt plan" in line]
    assert len(forecasts) == 1
    assert (
        "MEMDT_SEEDS=4 memdt plan --stages --scale smoke --experiments pair borrowed"
        in forecasts[0]
    )


def test_the_peak_is_that_of_a_machine():
    assert 1e8 < forecast_table.peak.peak(seconds=0.1) < 1e14
