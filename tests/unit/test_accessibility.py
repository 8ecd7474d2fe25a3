"""The report in a real browser: axe finds nothing serious on a phone and on a desk, light or dark.

It needs Chromium (Debian: chromium) and is skipped without it.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from made_up.project import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=30000",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
RUN = """window.addEventListener("load", () => axe.run(document).then((result) => {
  const element = document.createElement("pre");
  element.id = "axe";
  element.textContent = JSON.stringify(result.violations);
  document.body.append(element);
}));"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: chromium)")


def violations(page: str, folder: Path, *flags: str) -> list[dict[str, Any]]:
    """What axe finds on a page."""
    axe = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    inner = [one.replace("</", r"<\/") for one in (axe, RUN)]
    scripts = "".join(f"<script>{one}</script>" for one in inner)
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"{scripts}</body>"), encoding="utf-8")
    command = [
        str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags,
        "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    match = re.search(r'<pre id="axe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match, done.stderr[-2000:]
    result: list[dict[str, Any]] = json.loads(html.unescape(match[1]))
    return result


@pytest.mark.parametrize("flags", [("--window-size=375,800",), ("--window-size=1440,900", DARK)])
def test_the_report_has_no_serious_barrier(
    reported: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    serious = [
        (one["id"], one["nodes"][0]["html"])
        for one in violations(report(), tmp_path, *flags)
        if one["impact"] in ("serious", "critical")
    ]
    assert not serious


def test_a_barrier_is_seen(reported: Path, tmp_path: Path) -> None:
    broken = report().replace("</main>", '<img src="data:,"></main>')
    assert "image-alt" in {one["id"] for one in violations(broken, tmp_path)}
