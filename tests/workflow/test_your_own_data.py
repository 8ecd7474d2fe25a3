"""docs/your_own_data.md, followed word by word as somebody with recordings of their own would."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "your_own_data.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def blocks() -> list[tuple[str, str]]:
    """Language and text of each block of the page, in order."""
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def follow(project) -> list[str]:
    """Write the page's files and run its commands; what each command printed."""
    printed = []
    for language, text in blocks():
        if language == "sh":
            printed.append(project.done("bash", "-ec", text, timeout=1800))
        else:
            name = text.partition("\n")[0].removeprefix("# ")
            project.write(name, text)
    return printed


def returns(project, experiment: str) -> dict[str, float]:
    path = project.root / f"reports/quick/tables/{experiment}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return {row["variant"]: float(row["reproduced_mean"]) for row in csv.DictReader(file)}


@pytest.mark.slow
def test_the_page_from_the_recording_to_the_report(project):
    pytest.importorskip("minari")
    printed = follow(project)
    assert "my_lab/cartpole-v0" in printed[1]  # memdt settings
    assert "dataset" in printed[2]  # the dry run
    short = returns(project, "my_cartpole")
    assert short.keys() == {"rate", "behaviour_cloning", "random"}
    longer = returns(project, "my_cartpole_long")
    assert (project.root / "shared/my_lab/cartpole-v1/data/main_data.hdf5").is_file()
    page = (project.root / "reports/quick/report.html").read_text(encoding="utf-8")
    assert "What RATE learns from a hand-written policy" in page
    assert short["rate"] > 5 * short["random"]
    assert longer["rate"] > short["rate"]


def test_a_set_that_is_not_there_ends_the_plan_in_a_line(project):
    for language, text in blocks():
        if language == "yaml":
            project.write(text.partition("\n")[0].removeprefix("# "), text)
    done = project.snakemake("-n", "--config", "scale=smoke", "experiments=my_cartpole")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if "metadata.json" in line]
    assert len(lines) == 1
    assert "my_lab/cartpole-v0/data/metadata.json: there is no such file -> put one" in lines[0]
