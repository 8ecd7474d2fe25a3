"""Any file is refused in one line, or is read as what was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from made_up.episodes import drawn
from made_up.faults import REFUSED, answer_or_line, damaged, few, many, odd_values
from memdt import paths, provenance
from memdt.data.episode_file import read_all_but_observations, read_episodes, write_episodes
from memdt.data.episodes import EpisodeStore
from memdt.report.inline_svg import inline
from memdt.results.claims import load_claims
from memdt.results.results import load_curves, load_episodes, load_manifests
from memdt.results.sequential import load_looks
from memdt.training.checkpoints import load_checkpoint, save_checkpoint
from memdt.workflow import ledgers, restore, verify

ROOT = Path(__file__).parents[2]
DIGESTS = {"settings_digest": "5" * 16, "source_digest": "6" * 16}
RUN = paths.run("tiny", "walk", "near", 0)
STAGE = RUN / "stage_1"
DATASET = paths.dataset("tiny", "maze")
LEDGER = paths.ledger(RUN / "episodes.csv")
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 360 200">\n'
    '<path id="p1" style="fill: #ffffff"/><use href="#p1"/><text>a &lt;b&gt;</text></svg>'
)
EPISODES = (
    "condition,segments,episode,environment_seed,return,steps,success,group\n"
    "as_published,1,0,0,1,5,1,left\nas_published,1,1,1,0,5,0,right\n"
)
CURVE = "stage,update,segments,loss,accuracy\n1,10,1,0.5,0.75\n1,20,1,0.25,0.875\n"
LOCK = "schema: '2.0'\nstages:\n  datasets@quick:\n    cmd: snakemake datasets\n"


def weights(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Linear(3, 2)


def read_checkpoint() -> list[list[float]]:
    policy = weights(1)
    load_checkpoint(policy, STAGE / "checkpoint.safetensors", DIGESTS["settings_digest"], "again")
    return [parameter.tolist() for parameter in policy.parameters()]


def comparable(store: EpisodeStore) -> list[Any]:
    parts = [getattr(store, field.name) for field in fields(store)]
    return [None if part is None else np.asarray(part).tolist() for part in parts]


def read_ledger() -> Any:
    """A ledger without sense vouches for nothing; any other entry must be one that can be used.

    A file is only believed if its own content is what the entry says, so another entry is no harm.
    """
    ledgers._read_version.cache_clear()
    for entry in ledgers.read_ledger(LEDGER).values():
        assert isinstance(entry.sha256, str)
        assert isinstance(entry.inputs, dict)
        assert isinstance(entry.record, dict)
    return REFUSED


# What is damaged, and what reads it. Of a manifest only what it describes counts.
READERS: dict[str, tuple[Path, Callable[[], Any]]] = {
    "dataset": (DATASET, lambda: comparable(read_episodes(DATASET, None, "again"))),
    "lean dataset": (
        DATASET, lambda: comparable(read_all_but_observations(DATASET, None, "again")[0])
    ),
    "checkpoint": (STAGE / "checkpoint.safetensors", read_checkpoint),
    "episodes": (
        RUN / "episodes.csv", lambda: load_episodes("tiny", "walk", ["near"]).to_csv()
    ),
    "curve": (STAGE / "curve.csv", lambda: load_curves("tiny", "walk", ["near"]).to_csv()),
    "ledger": (LEDGER, read_ledger),
}  # fmt: skip


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run as the workflow leaves it, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_episodes([drawn([5, 1, 9])], DATASET, dict(DIGESTS))
    save_checkpoint(weights(), STAGE / "checkpoint.safetensors", dict(DIGESTS))
    for path, text in ((STAGE / "curve.csv", CURVE), (RUN / "episodes.csv", EPISODES)):
        path.write_text(text)
    names = [STAGE / "checkpoint.safetensors", STAGE / "curve.csv"]
    made = provenance.manifest(0, "cpu", names, stage=1, **DIGESTS)
    provenance.write_manifest(STAGE / "manifest.json", made, provenance.measured((0.0, 0.0)))
    made = provenance.manifest(0, "cpu", [RUN / "episodes.csv"], **DIGESTS)
    provenance.write_manifest(
        RUN / "evaluation_manifest.json", made, provenance.measured((0.0, 0.0))
    )
    entries = {str(RUN / f"{n}.csv"): ledgers.Entry("a" * 64, {}, {"rule": n}) for n in "ab"}
    ledgers.write_ledger(LEDGER, entries)


def a_damaged_file(kind: str, data: st.DataObject) -> None:
    path, read = READERS[kind]
    content, expected = path.read_bytes(), read()
    try:
        path.write_bytes(data.draw(damaged(content)))
        answer = answer_or_line(read)
        assert answer is REFUSED or answer == expected
    finally:
        path.write_bytes(content)


def an_odd_manifest(key: str, value: Any) -> None:
    """Whatever stands in a manifest, all that look at it end well or in one line."""
    path = STAGE / "manifest.json"
    content = path.read_bytes()
    try:
        path.write_text(json.dumps({**json.loads(content), key: value}))
        for read in (load_curves, load_manifests):
            answer_or_line(lambda read=read: read("tiny", "walk", ["near"]))
        answer_or_line(read_checkpoint)
        complaints, _ = verify.verify(["tiny"])
        assert complaints or json.loads(content).get(key) == value or key in ("x", "packages")
    finally:
        path.write_bytes(content)


def a_text(read: Callable[[], Any], path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    answer_or_line(read)


def texts(data: st.DataObject, kind: str) -> None:
    """Texts that people write, where another content is not damage: no traceback is enough."""
    claims, looks = paths.PUBLISHED / "claims.yaml", paths.PUBLISHED / "looks.yaml"
    cases: dict[str, tuple[Callable[[], Any], Path, bytes]] = {
        "claims": (load_claims, claims, (ROOT / claims).read_bytes()[:4000]),
        "looks": (load_looks, looks, (ROOT / looks).read_bytes()),
        "dvc.lock": (restore.check_lock, restore.LOCK, LOCK.encode()),
    }
    read, path, content = cases[kind]
    a_text(read, path, data.draw(damaged(content)))


def a_drawing(content: bytes) -> None:
    drawing = answer_or_line(lambda: inline(content.decode("latin-1"), "one", "title"))
    if drawing is not REFUSED:
        assert "<script" not in str(drawing.markup).lower()  # type: ignore[attr-defined]


KEYS = ("format", "seed", "stage", "files", "settings_digest", "source_digest", "packages", "x")


@few
@given(data=st.data(), kind=st.sampled_from(sorted(READERS)))
def test_a_damaged_file(files, data, kind):
    a_damaged_file(kind, data)


@few
@given(key=st.sampled_from(KEYS), value=odd_values)
def test_an_odd_manifest(files, key, value):
    an_odd_manifest(key, value)


@few
@given(data=st.data(), kind=st.sampled_from(("claims", "looks", "dvc.lock")))
def test_a_damaged_text(files, data, kind):
    texts(data, kind)


@few
@given(content=damaged(SVG.encode()))
def test_a_damaged_drawing(content):
    a_drawing(content)


@pytest.mark.slow
@many
@given(data=st.data(), kind=st.sampled_from(sorted(READERS)))
def test_many_damaged_files(files, data, kind):
    a_damaged_file(kind, data)


@pytest.mark.slow
@many
@given(key=st.sampled_from(KEYS), value=odd_values)
def test_many_odd_manifests(files, key, value):
    an_odd_manifest(key, value)


@pytest.mark.slow
@many
@given(data=st.data(), kind=st.sampled_from(("claims", "looks", "dvc.lock")))
def test_many_damaged_texts(files, data, kind):
    texts(data, kind)
