"""Verify: every file that is not what was written is named, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from made_up.episodes import episodes
from made_up.project import put
from memdt import paths, provenance
from memdt.__main__ import main
from memdt.data.episode_file import write_episodes
from memdt.errors import UserError
from memdt.files import sha256
from memdt.training.checkpoints import save_checkpoint
from memdt.workflow import verify

DIGESTS = {"settings_digest": "5" * 16, "source_digest": "6" * 16}
RUN = paths.run("tiny", "walk", "near", 0)
STAGE = RUN / "stage_1"
LEDGER = RUN.parents[1] / "records.jsonl"


@pytest.fixture
def files(config: Path) -> list[Path]:
    """A dataset, a stage, an evaluation, a table with its ledger: nine files that match."""
    seen = np.zeros((4, 2), np.float32)
    store = episodes(seen, np.zeros(4, np.int64), np.zeros(4), [2, 2])
    write_episodes([store], paths.dataset("tiny", "maze"), dict(DIGESTS))
    save_checkpoint(torch.nn.Linear(2, 2), STAGE / "checkpoint.safetensors", dict(DIGESTS))
    put(STAGE / "curve.csv", "a\n1\n")
    describe(STAGE / "manifest.json", ["checkpoint.safetensors", "curve.csv"], stage=1)
    put(RUN / "episodes.csv", "a\n1\n")
    describe(RUN / "evaluation_manifest.json", ["episodes.csv"])
    put(paths.table("tiny", "walk"), "a\n1\n")
    record(LEDGER, [RUN / "episodes.csv"])
    record(paths.table("tiny", "walk").with_suffix(".records.jsonl"), [paths.table("tiny", "walk")])
    return sorted(path for root in ("data", "reports") for path in Path(root).rglob("*.*"))


def describe(path: Path, names: list[str], **content: object) -> None:
    described = [path.with_name(name) for name in names]
    made = provenance.manifest(0, "cpu", described, **DIGESTS, **content)
    provenance.write_manifest(path, made, provenance.measured((0.0, 0.0)))


def record(ledger: Path, recorded: list[Path]) -> None:
    lines = [
        json.dumps({"path": path.as_posix(), "sha256": sha256(path), "more": {}})
        for path in recorded
    ]
    put(ledger, "".join(f"{line}\n" for line in lines))


def edit_manifest(path: Path, **changes: object) -> None:
    put(path, json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))


def complaints() -> dict[str, str]:
    faults, _ = verify.verify(["tiny"])
    return {path.as_posix(): what for path, what in faults.items()}


def test_untouched_files_match_and_are_counted_once(files, capsys):
    assert main(["verify"]) == 0
    looked_at = [path for path in files if "measured" not in path.name]
    assert capsys.readouterr().out == f"{len(looked_at)} files match\n"
    assert len(looked_at) == 9


def test_no_files_at_all_match(config, capsys):
    assert main(["verify"]) == 0
    assert capsys.readouterr().out == "0 files match\n"


def test_a_missing_measured_file_is_no_fault(files):
    for path in (STAGE / "measured.json", RUN / "evaluation_measured.json"):
        path.unlink()
    assert complaints() == {}


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        (STAGE / "curve.csv", "a\n2\n", "its sha256 is not the one in manifest.json"),
        (STAGE / "curve.csv", None, "listed in manifest.json, but missing"),
        (STAGE / "checkpoint.safetensors", "no", "its sha256 is not the one in manifest.json"),
        (STAGE / "manifest.json", "{", "no JSON"),
        (STAGE / "manifest.json", "{}", "not a manifest of this version"),
        (RUN / "episodes.csv", "a\n2\n", "not the one in evaluation_manifest.json"),
        (RUN / "evaluation_manifest.json", "[]", "not a manifest of this version"),
        (paths.dataset("tiny", "maze"), "no HDF5", "not an HDF5 file"),
        (paths.table("tiny", "walk"), "a\n2\n", "not the one in walk.records.jsonl"),
        (paths.table("tiny", "walk"), None, "recorded in walk.records.jsonl, but missing"),
        (LEDGER, "{\n[1]\n", "bad lines: 1, 2"),
    ],
)
def test_what_does_not_match_is_named_with_a_remedy(files, capsys, path, content, message):
    path.unlink() if content is None else put(path, content)
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--scale", "tiny"])
    assert ended.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{path}: ")
    assert message in lines[0]
    remedy = "remove it" if path == LEDGER else f"snakemake --cores all {path} --force"
    assert remedy in lines[1]


def test_a_file_without_its_manifest_is_named(files):
    (STAGE / "manifest.json").unlink()
    (RUN / "evaluation_manifest.json").unlink()
    assert complaints() == {
        (STAGE / "checkpoint.safetensors").as_posix(): "there is no manifest.json",
        (STAGE / "curve.csv").as_posix(): "there is no manifest.json",
        (RUN / "episodes.csv").as_posix(): "there is no evaluation_manifest.json",
    }


def test_a_file_that_its_manifest_does_not_list_is_named(files):
    edit_manifest(STAGE / "manifest.json", files={})
    faults = complaints()
    assert faults[(STAGE / "curve.csv").as_posix()] == "not listed in manifest.json"
    assert len(faults) == 2


def test_a_manifest_of_another_run_or_stage_is_named(files):
    edit_manifest(STAGE / "manifest.json", stage=2)
    edit_manifest(RUN / "evaluation_manifest.json", seed=7)
    assert complaints() == {
        (STAGE / "manifest.json").as_posix(): "the manifest of another stage (stage_2)",
        (RUN / "evaluation_manifest.json").as_posix(): "the manifest of another seed (seed_7)",
    }


def test_a_checkpoint_that_contradicts_its_manifest_is_named(files):
    edit_manifest(STAGE / "manifest.json", source_digest="0" * 16)
    (what,) = complaints().values()
    assert what == f"made with source_digest {'6' * 16}, manifest.json says {'0' * 16}"


def test_a_whole_file_that_is_no_checkpoint_is_named(files):
    put(STAGE / "checkpoint.safetensors", "foreign")
    describe(STAGE / "manifest.json", ["checkpoint.safetensors", "curve.csv"], stage=1)
    (what,) = complaints().values()
    assert "not a whole checkpoint" in what


def test_a_manifest_cannot_point_out_of_its_folder(files):
    outside = Path("secret.txt")
    put(outside, "x")
    listed = json.loads((RUN / "evaluation_manifest.json").read_text(encoding="utf-8"))["files"]
    name = "../../../../../../../secret.txt"
    edit_manifest(RUN / "evaluation_manifest.json", files={**listed, name: sha256(outside)})
    assert list(complaints()) == [(RUN / "secret.txt").as_posix()]


def test_several_faults_are_listed_and_the_first_is_mended_by_a_command(files, capsys):
    for name in ("curve.csv", "checkpoint.safetensors"):
        put(STAGE / name, "x")
    assert not verify.show()
    *listed, last = capsys.readouterr().out.splitlines()
    assert len(listed) == 2
    assert last.startswith("2 of 9 files do not match -> snakemake --cores all data/runs/tiny/walk")


def test_a_scale_without_files_is_refused(files):
    with pytest.raises(UserError, match="scale 'tinny' has no files.*did you mean 'tiny'"):
        verify.verify(["tinny"])
