"""``python -m memdt <verb>``: run one step, and tell errors to people in one line.

Exit status: 0 done, 2 bad input, or files that cannot be read or written (one line on stderr, no
traceback; MEMDT_DEBUG=1 shows it), 130 stopped by Ctrl-C or by the end of the Snakemake that
started the step, 143 by SIGTERM, 138 by SIGUSR1, 129 by SIGHUP.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from memdt.errors import UserError
from memdt.files import NO_SPACE

if TYPE_CHECKING:
    from memdt.stopping import Stopped


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run the verb; returns the exit status."""
    from memdt import stopping

    for stream in (sys.stdout, sys.stderr):  # a terminal may know ASCII alone
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with stopping.raised():
            _run(arguments)
    except UserError as error:
        return _refused(error)
    except stopping.Stopped as stopped:
        return _stopped(stopped)
    except KeyboardInterrupt:
        return _stopped(stopping.Stopped(signal.SIGINT))
    except BrokenPipeError:  # `memdt settings ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.errno is None:  # of a library, about something else than a file
            raise
        return _refused(_about_a_file(error))
    except MemoryError:
        return _refused(UserError("out of memory", "", "lower the sizes in the settings"))
    return 0


def _about_a_file(error: OSError) -> UserError:
    if error.errno in NO_SPACE:
        remedy = "free some space; the same command continues"
        return UserError(f"cannot be written ({error.strerror})", _file(error), remedy)
    remedy = "check its owner and permissions: memdt doctor"
    return UserError(f"cannot be read or written ({error.strerror})", _file(error), remedy)


def _run(arguments: Sequence[str] | None) -> None:
    from memdt.cli import commands
    from memdt.workflow import guard

    guard.die_with_snakemake()
    command = commands.parse(arguments)
    set_threads(getattr(command, "threads", 1))
    if getattr(command, "needs_project", True):
        commands.require_project()
    command.run()


def _refused(error: UserError) -> int:
    if os.environ.get("MEMDT_DEBUG"):
        raise error
    print(f"memdt: {error.line()}", file=sys.stderr)
    return 2


def _stopped(stopped: Stopped) -> int:
    if __name__ == "__main__":  # not where somebody else's process goes on after this
        from memdt.stopping import ignore_more

        ignore_more()
    print(stopped.line(), file=sys.stderr)
    return stopped.status


def _file(error: OSError) -> str:
    return "" if error.filename is None else str(error.filename)


def set_threads(threads: int) -> None:
    """Hold torch and BLAS to ``threads``; only effective before they are imported.

    One by default: at these sizes two threads of one job wait for each other, most of all on a busy
    machine, and two jobs side by side get more done (``python -m benchmarks threads``).
    """
    for name in ("OMP", "MKL", "OPENBLAS", "VECLIB", "NUMEXPR"):
        suffix = "MAXIMUM_THREADS" if name == "VECLIB" else "NUM_THREADS"
        os.environ[f"{name}_{suffix}"] = str(threads)


if __name__ == "__main__":
    sys.exit(main())
