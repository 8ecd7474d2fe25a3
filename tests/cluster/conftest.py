"""One cluster for a session of tests, and projects that are run on it beside one run without it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).parent
SELECTED = ("--config", "scale=tiny", "experiments=tiny")
# As a user gives it, but for seconds that a test need not wait.
COMMAND = (
    sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/slurm",
    "--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "20",
)  # fmt: skip
# Both sides run with this, so the bytes are the same; what it does is up to the environment.
FAULTS = '''\
def _fault(what: str) -> None:
    """Let an update take longer, fail, or take memory, where a test asks for it."""
    import os

    name, _, value = os.environ.get("LAB_FAULT", "").partition("=")
    if name == "slow":
        time.sleep(float(value))
    if name == "fail" and value in what:
        raise RuntimeError("a fault that a test asked for")
    if name == "memory" and value in what and not _held:
        _held.append(os.urandom(2**20) * 1200)


_held: list[bytes] = []


@dataclass
class Course:
'''
UPDATES = 200
# The plugin asks every 3 seconds, then 10 more each time that nothing has ended: here always 3.
ASKED = "    plugin.query_job_status = query_and_translate\n"
ASKED_OFTEN = f"""{ASKED}\
    every = property(lambda self: 3, lambda self, seconds: None)
    plugin.Executor.next_seconds_between_status_checks = every
"""


def load(name: str, path: Path) -> ModuleType:
    """A file beside the tests as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


laboratory = load("memdt_test_lab", HERE / "lab.py")
tiny = load("memdt_test_tiny", HERE.parent / "workflow" / "conftest.py")


@pytest.fixture(scope="session")
def lab() -> Iterator[Any]:
    """A cluster of four nodes."""
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    why = laboratory.missing()
    if why:
        pytest.skip(why)
    # Not pytest's own folder, which other users may not enter: daemons run as their own users.
    with tempfile.TemporaryDirectory(prefix="memdt-lab-", ignore_cleanup_errors=True) as folder:
        lab = laboratory.Lab(Path(folder))
        lab.watch(os.getpid())
        signal.signal(signal.SIGTERM, lambda number, frame: pytest.exit("SIGTERM", 143))
        try:
            lab.up()
            yield lab
        finally:
            lab.down()


def make_lab_project(target: Path, make_project: Callable[[Path], Any]) -> Any:
    """The tiny experiment with stages that can be made to last, fail or grow."""
    project = tiny.make_tiny(make_project(target))
    scale = "workflow/config/scales/tiny.yaml"
    project.edit(scale, "reduced: true", "reduced: false")  # so cards are asked for
    text = (target / scale).read_text(encoding="utf-8")
    changed = text.replace("  - 2\n", f"  - {UPDATES}\n", 1).replace("log_every: 1", "log_every: 7")
    assert str(UPDATES) in changed, text
    project.write(scale, changed)
    project.edit("src/memdt/workflow/upstream.py", ASKED, ASKED_OFTEN)
    course = "src/memdt/training/course.py"
    project.edit(course, "@dataclass\nclass Course:\n", FAULTS)
    project.edit(
        course,
        "        point = self.point\n",
        "        _fault(self.what)\n        point = self.point\n",
    )
    return project


@dataclass(frozen=True)
class Cluster:
    """A project, and the cluster that it is run on."""

    project: Any
    lab: Any
    extra: tuple[tuple[str, str], ...] = ()  # of the environment
    command: tuple[str, ...] = (*COMMAND, *SELECTED)
    user: str | None = None  # root if not given
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def root(self) -> Path:
        root: Path = self.project.root
        return root

    @property
    def environment(self) -> dict[str, str]:
        """As docs/cluster.md tells to set it, for this cluster."""
        site = {
            "MEMDT_SLURM_ACCOUNT": "lab", "MEMDT_SLURM_PARTITION": "cpu",
            "MEMDT_SLURM_GPU_PARTITION": "gpu", "MEMDT_SAVE_EVERY_SECONDS": "1",
        }  # fmt: skip
        environment: dict[str, str] = self.project.environment
        return environment | self.lab.environment | site | dict(self.extra)

    def having(self, **variables: str) -> Cluster:
        """The same with more environment variables."""
        return replace(self, extra=(*self.extra, *variables.items()))

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Snakemake on the cluster; what it says goes to run.log."""
        with (self.root / "run.log").open("ab") as log:
            process = subprocess.Popen(
                [*self.command, *options], cwd=self.root, env=self.environment, stdout=log,
                stderr=log, start_new_session=True, **self._as_user,
            )  # fmt: skip
        self.started.append(process)
        return process

    def run(self, *options: str, timeout: float = 400) -> int:
        """The exit status of Snakemake on the cluster."""
        process = self.start(*options)
        try:
            return process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail(f"Snakemake hangs\n{self.output()}")

    def do(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Another command in the project's folder, in the same environment and as the same user."""
        return subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True,
            timeout=180, check=False, **self._as_user,
        )  # fmt: skip

    @property
    def _as_user(self) -> dict[str, Any]:
        return {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}

    def output(self) -> str:
        """All that Snakemake has printed so far."""
        log = self.root / "run.log"
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def accounts(self) -> list[tuple[str, str, str, str]]:
        """Snakemake's jobs of this project: what, state, resources and node, from accounting."""
        output = self.lab.run(
            "sacct", "-X", "-n", "-P", "-S", "now-3hours",
            "-o", "Comment,State,AllocTRES,NodeList,WorkDir",
        )  # fmt: skip
        rows = [line.split("|") for line in output.splitlines()]
        return [(r[0], r[1], r[2], r[3]) for r in rows if r[0] and r[4] == str(self.root)]

    def running(self, rule: str) -> list[tuple[str, str]]:
        """Number and node of each running job of a rule."""
        output = self.lab.run("squeue", "-h", "-t", "RUNNING", "-o", "%i|%N|%k|%Z")
        rows = [line.split("|") for line in output.splitlines()]
        mine = [r for r in rows if r[3] == str(self.root) and r[2].startswith(f"rule_{rule}")]
        return [(r[0], r[1]) for r in mine]

    def wait_for(self, done: Callable[[], Any], process: Any = None, seconds: float = 120) -> Any:
        """What ``done`` returns once it is something."""
        deadline = time.monotonic() + seconds
        while not (result := done()):
            alive = process is None or process.poll() is None
            assert alive, f"ended too early\n{self.output()}"
            assert time.monotonic() < deadline, f"it never came\n{self.output()}"
            time.sleep(0.3)
        return result

    def saved(self, stage: str) -> bool:
        """Whether a stage has saved a state."""
        return (self.root / "data/runs/tiny/tiny" / stage / "resume.safetensors").exists()

    def clear(self) -> None:
        """Leave the cluster without jobs and with all of its nodes."""
        for process in self.started:
            if process.poll() is None:  # the test has failed
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=20)
        jobs = self.lab.run("squeue", "-h", "-o", "%i").split()
        self.lab.run("scancel", *jobs, check=False)
        self.wait_for(lambda: self.lab.idle() == set(laboratory.NODES), seconds=60)
        for job in jobs:  # without control groups SLURM leaves some processes behind
            laboratory.kill_job(job)

    def results(self) -> dict[str, bytes]:
        """Everything but what is measured."""
        return kept(self.root)


def kept(root: Path) -> dict[str, bytes]:
    """Every file that is a result, ledgers too, by its path."""
    folders = (root / name for name in ("data/datasets", "data/runs", "reports"))
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("measured.json", "cost.html"))
    }


@pytest.fixture(scope="session")
def laptop(
    tmp_path_factory: pytest.TempPathFactory, make_project: Callable[[Path], Any], lab: Any
) -> dict[str, bytes]:
    """The results of the same experiment, run without a cluster."""
    folder = tmp_path_factory.mktemp("laptop") / "project"
    project = make_lab_project(folder, make_project)
    done = project.snakemake("--cores", "2", *SELECTED, timeout=400)
    assert done.returncode == 0, done.stderr
    return kept(folder)


@pytest.fixture
def cluster(tmp_path: Path, make_project: Callable[[Path], Any], lab: Any) -> Iterator[Cluster]:
    """A fresh project on the cluster, which is left without jobs and with all of its nodes."""
    fresh = Cluster(make_lab_project(tmp_path / "project", make_project), lab)
    yield fresh
    fresh.clear()


@pytest.fixture(scope="session")
def plain_user(lab: Any) -> Path:
    """The folder of a user who is not root, with a Python of its own that has all packages."""
    home: Path = lab.add_user()
    python = python_for(home.name)
    if not python:
        pytest.skip(f"no Python {sys.version_info[0]}.{sys.version_info[1]} that all users may run")
    as_user = {"user": home.name, "group": home.name, "extra_groups": [], "cwd": home}
    subprocess.run([python, "-m", "venv", "--without-pip", "venv"], check=True, **as_user)
    packages = next(home.glob("venv/lib/*/site-packages"))
    (packages / "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    for name, module in (("snakemake", "snakemake.cli"), ("memdt", "memdt.__main__")):
        script = home / "venv/bin" / name
        text = (
            f"#!{home}/venv/bin/python\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        )
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)
    return home


def python_for(user: str) -> str | None:
    """A Python of this one's version that a user may run: root's may lie in root's folder."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    everywhere = shutil.which(f"python{version}", path="/usr/local/bin:/usr/bin:/bin")
    check = f"import sys, venv; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"
    for python in filter(None, (os.path.realpath(sys.executable), everywhere)):
        try:
            done = subprocess.run([python, "-c", check], user=user, group=user, extra_groups=[])
        except PermissionError:
            continue
        if done.returncode == 0:
            return python
    return None


@pytest.fixture
def plain_cluster(
    plain_user: Path, make_project: Callable[[Path], Any], lab: Any
) -> Iterator[Cluster]:
    """A project in a plain user's folder, set up so that commands are those of the page."""
    project = make_lab_project(plain_user / "project", make_project)
    user = plain_user.name
    for path in (project.root, *project.root.rglob("*")):
        shutil.chown(path, user, user)
    programs = os.pathsep.join([str(plain_user / "venv/bin"), "/usr/bin", "/bin"])
    mine = {"HOME": str(plain_user), "USER": user, "LOGNAME": user, "PATH": programs}
    fresh = Cluster(project, lab, tuple(mine.items()), ("snakemake",), user)
    yield fresh
    fresh.clear()
