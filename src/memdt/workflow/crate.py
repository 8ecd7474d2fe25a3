"""Pack a finished run of the workflow as an RO-Crate of the profile Workflow Run.

Source: Workflow Run RO-Crate 0.5 (Leo et al. 2024), which Process Run Crate 0.5 and Workflow
RO-Crate 1.0 are parts of.

The crate holds the workflow with its settings, the locked versions, and the report with its tables,
figures and claims. Datasets and checkpoints stay where they are: `claims.json` names their digests.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from memdt import paths
from memdt.errors import UserError
from memdt.provenance import git_state
from memdt.settings.files import scale_file

PROFILES = (
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
)
WORKFLOW = Path("Snakefile")
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
LICENCE = "https://spdx.org/licenses/MIT"


def write_crate(scale: str, experiments: Sequence[str], to: Path) -> Path:
    """Write the crate of a scale's report to the new folder ``to``, and return it.

    Raises:
        UserError: there is no report yet, ``to`` is there already, or rocrate is not installed.
    """
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        remedy = "pip install memdt[workflow]"
        raise UserError("rocrate is not installed", str(to), remedy) from None
    report = paths.report(scale)
    if not report.is_file():
        remedy = f"snakemake {report} --cores all"
        raise UserError("there is no report yet", str(report), remedy)
    if to.exists():
        raise UserError("there is already something", str(to), "give another --to")
    ended = datetime.fromtimestamp(report.stat().st_mtime, UTC).isoformat(timespec="seconds")
    crate = ROCrate()
    _describe(crate, scale, ended)
    workflow = _workflow(crate)
    inputs = [crate.add_file(path, dest_path=str(path)) for path in _inputs()]
    results = [
        crate.add_file(path, dest_path=str(path))
        for path in sorted(report.parent.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    ]
    what = f"snakemake --cores all --config scale={scale} experiments={','.join(experiments)}"
    action = crate.add_action(
        workflow, object=inputs, result=results,
        properties={
            "name": what, "description": f"{len(experiments)} experiments at scale {scale}",
            "endTime": ended, "actionStatus": "http://schema.org/CompletedActionStatus",
        },
    )  # fmt: skip
    crate.root_dataset["mentions"] = [action]
    crate.write(to)
    return to


def _describe(crate: Any, scale: str, date: str) -> None:
    """What the whole crate is, and which profiles it follows."""
    settings = scale_file(scale)
    reduced = " Reduced scale: these are not the papers' numbers." if settings.reduced else ""
    crate.name = f"memdt at scale {scale}"
    crate.description = (
        "Claims of two papers about memory in offline-RL transformers, tested by a Snakemake "
        f"workflow at scale {scale} ({settings.title}).{reduced}"
    )
    crate.license = _entity(crate, LICENCE, "CreativeWork", name="MIT License")
    crate.datePublished = date
    profiles = [
        _entity(crate, url, "CreativeWork", name=url.rpartition("wfrun/")[2], version=url[-3:])
        for url in PROFILES
    ]
    crate.root_dataset["conformsTo"] = profiles


def _workflow(crate: Any) -> Any:
    """The Snakefile as the main entity."""
    commit = git_state()["git_commit"]
    language = _entity(
        crate, SNAKEMAKE, "ComputerLanguage", name="Snakemake", alternateName="snakemake",
        identifier={"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
        url={"@id": "https://snakemake.readthedocs.io"},
    )  # fmt: skip
    about = {
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
        "name": "memdt",
        "programmingLanguage": language,
        **({"version": commit} if commit else {}),
    }
    workflow = crate.add_file(WORKFLOW, dest_path=str(WORKFLOW), properties=about)
    crate.root_dataset["mainEntity"] = workflow
    return workflow


def _inputs() -> list[Path]:
    """Settings, rules, published numbers and pinned versions."""
    folders = (Path("workflow"), paths.PUBLISHED)
    outputs = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in (*outputs, Path("requirements.lock")) if path.is_file()]


def _entity(crate: Any, key: str, kind: str, **properties: Any) -> Any:
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, key, properties={"@type": kind, **properties}))
