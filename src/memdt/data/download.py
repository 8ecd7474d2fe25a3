"""Fetch published files: resumed where a transfer broke off, checked before anybody reads them.

    MEMDT_MIRROR   where to look first: addresses or folders, separated by blanks. A mirror holds a
                   file under its bare name.

A transfer that broke off leaves ``<name>.part`` beside the file, and the next one goes on from
there (HTTP range requests). The library ``pooch`` begins anew and knows no mirrors.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests

from memdt.data.sources.size import RawFile
from memdt.errors import UserError
from memdt.files import sha256
from memdt.progress import Progress
from memdt.set_aside import set_aside

MIRROR = "MEMDT_MIRROR"
FOLDER = Path("data/raw/fetched")  # what the rule `fetch` makes
TIMEOUT_SECONDS = (10.0, 60.0)  # to connect, and between two pieces
PIECE = 2**16  # bytes; what a broken transfer loses at most
ATTEMPTS = 3  # in a row that bring no byte, before an address is given up
PAUSE_SECONDS = 1.0  # between two of them


class _Failed(Exception):
    """Why one place does not give the file, in a few words."""


def fetched(name: str, folder: str) -> Path:
    """Where a fetched file lies."""
    return FOLDER / folder / name


def fetch(file: RawFile) -> None:
    """Bring a file to its place from the first mirror or address that has it.

    A file that is there and right is left alone; one that is wrong is set aside.

    Raises:
        UserError: no place gives a file of the right size and digest.
    """
    if file.path.exists():
        with contextlib.suppress(UserError):
            check(file)
            return
    tried = []
    for place in _places(file):
        try:
            _take(place, file)
        except _Failed as why:
            tried.append(f"{place} ({why})")
        else:
            return
    raise UserError(
        f"cannot be fetched; tried {', '.join(tried) or 'nothing'}",
        str(file.path),
        f"set {MIRROR} to an address or a folder that holds {file.path.name}, or put the file at "
        f"{file.path}, or use an environment whose data are made from nothing (docs/data.md)",
    )


def check(file: RawFile) -> None:
    """UserError where a file is missing, or is not of the size and digest that it should have.

    A wrong file is set aside, so that nothing reads it.
    """
    if not file.path.is_file():
        raise UserError("there is no such file", str(file.path), f"memdt fetch {file.path}")
    wrong = _difference(file, file.path)
    if wrong is not None:
        aside = set_aside(file.path)
        raise UserError(f"{wrong}; it is set aside as {aside}", str(file.path), "fetch it again")


def _difference(file: RawFile, path: Path) -> str | None:
    """What is wrong with the content of ``path``; None: nothing."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size:,} bytes, {file.size:,} are expected"
    if file.sha256 is not None and (digest := sha256(path)) != file.sha256:
        return f"its SHA-256 is {digest[:12]}..., {file.sha256[:12]}... is expected"
    return None


def _places(file: RawFile) -> list[str]:
    """Mirrors first: whoever names one does so because the address is slow or gone."""
    mirrors = os.environ.get(MIRROR, "").split()
    found = [f"{mirror.rstrip('/')}/{file.path.name}" for mirror in mirrors]
    return found + ([file.address] if file.address else [])


def _take(place: str, file: RawFile) -> None:
    """The file from one place, checked; _Failed where that place does not have it."""
    part = file.path.with_name(f"{file.path.name}.part")
    resumed = part.exists()
    _bring(place, part, file)
    wrong = _difference(file, part)
    if wrong is not None and resumed:  # its first half may be another place's fault
        part.unlink()
        _bring(place, part, file)
        wrong = _difference(file, part)
    if wrong is not None:
        raise _Failed(f"{wrong}; it is set aside as {set_aside(part)}")
    with part.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(part, file.path)


def _bring(place: str, part: Path, file: RawFile) -> None:
    """Download or copy to ``part``."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if urlsplit(place).scheme in ("http", "https"):
            _download(place, part, file)
            return
        source = Path(place.removeprefix("file://")).expanduser()
        if not source.is_file():
            raise _Failed("no such file")
        shutil.copyfile(source, part)
    except OSError as error:  # of the disk; those of the network are told by _download
        raise UserError(f"cannot be written ({error.strerror or error})", str(part)) from None


def _download(address: str, part: Path, file: RawFile) -> None:
    """Fill ``part`` from where it ends; go on as long as attempts bring something."""
    if file.sha256 is None:
        part.unlink(missing_ok=True)  # nobody could tell whether both halves are of one file
    left, progress = ATTEMPTS, None
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            with _answer(address, before, file.size) as answer:
                begin = before if answer.status_code == requests.codes.partial_content else 0
                length = int(answer.headers.get("Content-Length") or 0)
                total = file.size or begin + length
                _refuse_other_size(file, begin + length, answer)
                progress = progress or Progress(
                    f"fetch {file.path.name}", total, unit="bytes", done=begin
                )
                _write(answer, part, begin, progress)
            if part.stat().st_size >= total:
                return
            why = "the connection broke off"
        except requests.RequestException as error:
            why = _in_words(error)
        after = part.stat().st_size if part.exists() else 0
        left = ATTEMPTS if after > before else left - 1
        if left == 0:
            raise _Failed(why)
        time.sleep(PAUSE_SECONDS)


@contextlib.contextmanager
def _answer(address: str, begin: int, size: int | None) -> Iterator[requests.Response]:
    """The server's answer from byte ``begin`` on; _Failed where it has no such file."""
    if size is not None and begin >= size:
        begin = 0  # more than there should be: begin anew
    # Without compression, so that bytes on the way are bytes of the file.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={begin}-"} if begin else {})}
    with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            raise _Failed("it has fewer bytes than are here already")
        if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
            raise _Failed(f"HTTP {answer.status_code} {answer.reason}")
        yield answer


def _refuse_other_size(file: RawFile, offered: int, answer: requests.Response) -> None:
    """_Failed before a transfer of hours where the server has another file under this name."""
    if file.size is not None and "Content-Length" in answer.headers and offered != file.size:
        raise _Failed(f"it offers {offered:,} bytes, {file.size:,} are expected")


def _write(answer: requests.Response, part: Path, begin: int, progress: Progress) -> None:
    with part.open("r+b" if begin else "wb") as file:
        file.truncate(begin)
        file.seek(begin)
        done = begin
        for piece in answer.iter_content(PIECE):
            file.write(piece)
            done += len(piece)
            progress.update(done)


def _in_words(error: requests.RequestException) -> str:
    """The kind of a failure; the whole text of requests is a nest of objects."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__
