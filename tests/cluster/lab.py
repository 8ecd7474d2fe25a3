"""A real SLURM on one machine: munge, MariaDB, slurmdbd, slurmctld and a slurmd for each node.

From Debian's packages, on loopback, everything in one folder that goes in the end. As root:

    python tests/cluster/lab.py install     the packages, by apt-get
    python tests/cluster/lab.py check       why there can be no cluster here, if so
    python tests/cluster/lab.py up /tmp/lab             then: source /tmp/lab/env; sinfo
    python tests/cluster/lab.py down /tmp/lab

Nodes are slurmds with faked cores and memory; their cards are links to /dev/null, which is enough
for SLURM to count them and to set CUDA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurmdbd", "slurm-client", "munge", "mariadb-server")
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd", "setpriv")
# Snakemake's plugin takes every SLURM variable from its inner srun, SLURM_CONF too: the
# configuration must also lie where Debian's programs look for it by themselves.
SYSTEM = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
MARK = "MEMDT_LAB"  # in the environment of whatever tests start on a cluster
NODES = {"cpu1": 0, "cpu2": 0, "gpu1": 2, "gpu2": 2}  # and how many cards each has
CORES, MEGABYTES = 4, 16000
MEMORY = 4000  # megabytes: daemons, four jobs with two Snakemakes each, and one that takes too much
HERE = Path(__file__).parent  # of the templates, filled in by str.format


class LabError(Exception):
    """A daemon that does not come up, in words."""


@dataclass(frozen=True)
class Lab:
    """A cluster whose files all lie below one folder, which every user must be able to enter."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """What the commands of SLURM want in their environment."""
        return {"SLURM_CONF": str(self.root / "etc/slurm.conf"), MARK: str(self.root)}

    def run(self, *command: str, check: bool = True) -> str:
        """A command's output; those of SLURM find this cluster."""
        done = subprocess.run(
            command, env=os.environ | self.environment, cwd=self.root, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise LabError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def up(self) -> None:
        """Start everything, one after the other, each when the one before answers."""
        self._make_folders()
        servers = ("controller", "accounting", "database", *NODES)
        ports = dict(zip(servers, free_ports(len(servers)), strict=True))
        values = {
            "root": str(self.root), "host": socket.gethostname().partition(".")[0],
            "socket": str(self._socket), "password": secrets.token_hex(12),
            **{name: str(port) for name, port in ports.items()},
        }  # fmt: skip
        self._start_munge()
        self._start_database(values)
        self._write_configuration(values)
        self._start_accounting()
        self._start("slurm", "slurmctld", "-f", self.environment["SLURM_CONF"])
        self._wait(lambda: "is UP" in self.run("scontrol", "ping", check=False), "slurmctld")
        for node in NODES:
            self.start_node(node)
        self._wait(lambda: self.idle() == set(NODES), "nodes")

    def add_user(self) -> Path:
        """A plain user of the machine and of the cluster, until `down`; the user's folder."""
        name = self.root.name  # unique, because a run that is killed leaves its user behind
        home = self.root / "home" / name
        home.parent.mkdir(mode=0o755, exist_ok=True)
        self.run("useradd", "--no-log-init", "--create-home", "--home-dir", str(home), name)
        home.chmod(0o755)
        self.run("sacctmgr", "-i", "-Q", "add", "user", name, "account=lab")
        return home

    def watch(self, process: int) -> None:
        """Let a process of its own take everything down once this one is gone, however it ends."""
        command = (sys.executable, __file__, "watch", str(self.root), str(process))
        subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, cwd="/")

    def down(self) -> None:
        """End everything, jobs first, and remove the folder."""
        with contextlib.suppress(LabError, OSError, subprocess.SubprocessError):
            self.run("scancel", *self.run("squeue", "-h", "-o", "%i").split())
        for pattern in ("run/slurmd-*.pid", "run/slurmctld.pid", "run/slurmdbd.pid",
                        "run/mysqld/mariadbd.pid", "munge-run/munged.pid"):  # fmt: skip
            for file in self.root.glob(pattern):
                end(file)
        kill(self._is_mine)
        for name in FILES:
            link = SYSTEM / name
            if link.is_symlink() and Path(os.readlink(link)).is_relative_to(self.root):
                link.unlink()
        for home in (self.root / "home").glob("*"):
            # --force: processes that were just killed still count as the user's.
            subprocess.run(["userdel", "--force", home.name], capture_output=True, check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def _is_mine(self, process: Path) -> bool:
        """Whether tests, daemons or a job of this cluster have started a process; by its folder."""
        variables = dict(
            pair.split(b"=", 1)
            for pair in (process / "environ").read_bytes().split(b"\0")
            if b"=" in pair
        )
        mine = {name.encode(): value.encode() for name, value in self.environment.items()}
        in_job = (
            b"SLURM_JOB_ID" in variables and variables.get(b"SLURM_CONF") == mine[b"SLURM_CONF"]
        )
        return in_job or variables.get(MARK.encode()) == mine[MARK.encode()]

    def idle(self) -> set[str]:
        """The nodes that take jobs and have none."""
        return set(self.run("sinfo", "-h", "-N", "-t", "idle", "-o", "%N", check=False).split())

    def start_node(self, node: str) -> None:
        """Start a node's daemon, also one that was ended."""
        self._start("root", "slurmd", "-f", self.environment["SLURM_CONF"], "-N", node)

    def break_node(self, node: str) -> None:
        """Let a node die as in a power cut: its daemon, and all that runs of its jobs there."""
        jobs = self.run("squeue", "-h", "-w", node, "-o", "%i").split()
        end(self.root / f"run/slurmd-{node}.pid", signal.SIGKILL)
        for job in jobs:
            kill_job(job)

    @property
    def _socket(self) -> Path:
        return self.root / "munge-run/munge.socket"

    def _make_folders(self) -> None:
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.root.chmod(0o755)
        for name in ("etc", "dev", *(f"spool/{node}" for node in NODES)):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for name, owner in (("log", "slurm"), ("run", "slurm"), ("state", "slurm"),
                            ("munge-run", "munge"), ("munge", "munge"),
                            ("run/mysqld", "mysql"), ("mysql", "mysql")):  # fmt: skip
            (self.root / name).mkdir(mode=0o755)
            shutil.chown(self.root / name, owner, owner)

    def _start_munge(self) -> None:
        folder = self.root / "munge"
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        shutil.chown(key, "munge", "munge")
        folder.chmod(0o700)
        self._start(
            "munge", "munged", f"--key-file={key}", f"--socket={self._socket}",
            f"--pid-file={self.root}/munge-run/munged.pid",
            f"--log-file={self.root}/munge-run/munged.log",
            f"--seed-file={folder}/munged.seed",
        )  # fmt: skip
        self._wait(self._socket.exists, "munged")

    def _start_database(self, values: dict[str, str]) -> None:
        data, sock = self.root / "mysql", self.root / "run/mysqld/m.sock"
        self.run(
            "mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}",
            "--auth-root-authentication-method=socket", "--skip-test-db",
        )  # fmt: skip
        with (self.root / "log/mariadb.log").open("ab") as log:
            subprocess.Popen(
                ["mariadbd", "--no-defaults", "--user=mysql", f"--datadir={data}",
                 f"--socket={sock}", f"--pid-file={self.root}/run/mysqld/mariadbd.pid",
                 "--bind-address=127.0.0.1", f"--port={values['database']}",
                 "--innodb-buffer-pool-size=128M", "--innodb-lock-wait-timeout=900",
                 "--innodb-flush-log-at-trx-commit=0"],
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        client = ("mariadb", "--no-defaults", "-S", str(sock), "-e")
        self._wait(lambda: "1" in self.run(*client, "select 1", check=False), "mariadbd")
        users = ("slurm@'127.0.0.1'", "slurm@localhost")
        made = [f"create user {user} identified by '{values['password']}';" for user in users]
        granted = [f"grant all on slurm_accounting.* to {user};" for user in users]
        self.run(*client, " ".join(["create database slurm_accounting;", *made, *granted]))

    def _write_configuration(self, values: dict[str, str]) -> None:
        folder = self.root / "etc"
        accounting = folder / "slurmdbd.conf"
        accounting.write_text(filled("slurmdbd.conf", values))
        shutil.chown(accounting, "slurm", "slurm")
        accounting.chmod(0o600)  # slurmdbd refuses any other
        lines, cards = [filled("slurm.conf", values)], []
        for node, count in NODES.items():
            gres = f" Gres=gpu:a100:{count}" if count else ""
            lines.append(
                f"NodeName={node} NodeHostname={node} NodeAddr=127.0.0.1 Port={values[node]} "
                f"CPUs={CORES} RealMemory={MEGABYTES}{gres}\n"
            )
            for number in range(count):
                card = self.root / f"dev/nvidia{number}"  # the last digit is its number
                if not card.is_symlink():
                    card.symlink_to("/dev/null")
                cards.append(f"NodeName={node} Name=gpu Type=a100 File={card}\n")
        for partition, default in (("cpu", " Default=YES"), ("gpu", "")):
            nodes = ",".join(node for node in NODES if node.startswith(partition))
            lines.append(f"PartitionName={partition} Nodes={nodes}{default} MaxTime=12:00:00\n")
        # What is sent here puts an end to what runs on these nodes.
        lines.append("PartitionName=urgent Nodes=gpu1,gpu2 PriorityTier=10 MaxTime=1:00:00\n")
        texts = (
            "".join(lines),
            "".join(cards),
            "# SLURM from 23.11 on wants: CgroupPlugin=disabled\n",
        )
        for name, text in zip(FILES, texts, strict=True):
            (folder / name).write_text(text)
            link = SYSTEM / name
            if link.is_symlink():
                link.unlink()
            link.symlink_to(folder / name)
        (folder / "plugstack.conf").touch()
        (self.root / "env").write_text(f"export SLURM_CONF={folder}/slurm.conf\n")

    def _start_accounting(self) -> None:
        self._start("slurm", "slurmdbd")
        query = ("sacctmgr", "-n", "list", "cluster")
        self._wait(lambda: self._succeeds(*query), "slurmdbd")
        for what in ("cluster lab", "account lab Description=lab Organization=lab",
                     "user root account=lab"):  # fmt: skip
            self.run("sacctmgr", "-i", "-Q", "add", *what.split())

    def _succeeds(self, *command: str) -> bool:
        try:
            self.run(*command)
        except (LabError, subprocess.TimeoutExpired):
            return False
        return True

    def _start(self, user: str, *command: str) -> None:
        """A daemon, which goes into the background by itself."""
        who = ("setpriv", "--reuid", user, "--regid", user, "--clear-groups")
        self.run(*(who if user != "root" else ()), *command)

    def _wait(self, done: Callable[[], bool], what: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise LabError(f"{what} did not come up in {seconds:.0f} s, see {self.root}/log")
            time.sleep(0.1)


def filled(name: str, values: dict[str, str]) -> str:
    """A file of SLURM's from its template."""
    return (HERE / f"{name}.template").read_text(encoding="utf-8").format(**values)


def missing() -> str:
    """Why there can be no cluster here; nothing where there can. Each need is tried."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a test cluster needs Linux and root"
    if lacking := lacking_programs():
        return f"no {', '.join(lacking)}: python tests/cluster/lab.py install"
    if any((SYSTEM / name).exists() for name in FILES):
        return f"this machine has a SLURM of its own: {SYSTEM}/slurm.conf"
    return _forbidden()


def lacking_programs() -> list[str]:
    """The programs that are not installed."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def _forbidden() -> str:
    """What a container may not allow: changing users, a folder under /etc, ports, memory."""
    for user in ("slurm", "munge", "mysql"):
        command = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "true"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return f"root may not become the user {user} here"
    try:
        SYSTEM.mkdir(exist_ok=True)
        (SYSTEM / ".memdt").touch()
        (SYSTEM / ".memdt").unlink()
        free_ports(1)
    except OSError as error:
        return f"a test cluster needs to write to {SYSTEM} and to listen on loopback: {error}"
    return "" if free_megabytes() >= MEMORY else f"less than {MEMORY:,} MB of memory are free"


def free_megabytes() -> int:
    """Memory that may be taken without harm."""
    text = Path("/proc/meminfo").read_text(encoding="utf-8")
    return int(text.partition("MemAvailable:")[2].split()[0]) // 1024


def install() -> None:
    """Debian's packages, whose services do not start; nothing where they are there."""
    if not lacking_programs():
        return
    policy = Path("/usr/sbin/policy-rc.d")
    mine = not policy.exists()
    if mine:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    quiet = ("apt-get", "-qq", "-o=Dpkg::Use-Pty=0")
    try:
        subprocess.run([*quiet, "update"], check=True, env=environment)
        command = [*quiet, "install", "-y", "--no-install-recommends", *PACKAGES]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    finally:
        if mine:
            policy.unlink()


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens at, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def end(file: Path, number: int = signal.SIGTERM, patience: float = 15) -> None:
    """End the process whose id a file holds, by force where it does not end by itself."""
    try:
        process = int(file.read_text())
        os.kill(process, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            os.kill(process, 0)
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
            time.sleep(0.1)
        os.kill(process, signal.SIGKILL)
    except (OSError, ValueError):  # it has ended, or never began
        return


def kill_job(job: str) -> None:
    """Kill what runs under the number of a job; first what would tell SLURM of it."""
    step, mark = f"slurmstepd: [{job}.".encode(), f"SLURM_JOB_ID={job}".encode()
    kill(lambda folder: (folder / "cmdline").read_bytes().startswith(step))
    kill(lambda folder: mark in (folder / "environ").read_bytes().split(b"\0"))


def kill(belongs: Callable[[Path], bool]) -> None:
    """Kill every process of whose folder in /proc this is true, but for this one."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(folder.name) != os.getpid() and belongs(folder):
                os.kill(int(folder.name), signal.SIGKILL)


def take_down_after(root: Path, process: int) -> None:
    """Wait for the end of a process; then take down what it has left of its cluster."""
    while root.exists() and Path(f"/proc/{process}").exists():
        time.sleep(2)
    if root.exists():
        Lab(root).down()


def main(arguments: Sequence[str]) -> None:
    """What the command line asks for."""
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    match list(arguments):
        case ["install"]:
            install()
        case ["check"]:
            sys.exit(missing() or 0)
        case ["watch", folder, process]:
            take_down_after(Path(folder), int(process))
        case ["up", folder]:
            if missing():
                sys.exit(missing())
            Lab(Path(folder).resolve()).up()
        case ["down", folder]:
            Lab(Path(folder).resolve()).down()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
