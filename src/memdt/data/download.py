"""Fetch published files: resume broken transfers, and check every file before it is read.

    MEMDT_MIRROR   where to look first: addresses or folders, separated by spaces. A mirror stores
                   each file under its bare name.

An interrupted transfer leaves ``<name>.part`` beside the file, and the next one continues from
there (HTTP range requests). The library ``pooch`` starts again and has no mirrors.
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
FOLDER = Path("data/raw/fetched")  # written by the rule `fetch`
TIMEOUT_SECONDS = (10.0, 60.0)  # to connect, and between two pieces
PIECE = 2**16  # bytes; the most that a broken transfer loses
ATTEMPTS = 3  # without a new byte before an address is given up
PAUSE_SECONDS = 1.0  # between two attempts


class _Failed(Exception):
    """Why a source does not provide the file, in a few words."""


def fetched(name: str, folder: str) -> Path:
    """The path of a fetched file."""
    return FOLDER / folder / name


def fetch(file: RawFile) -> None:
    """Fetch a file from the first mirror or address that has it.

    A correct file is left alone; a wrong one is set aside.

    Raises:
        UserError: no source has a file with the expected size and digest.
    """
    if file.path.exists():
        with contextlib.suppress(UserError):
            check(file)
            return
    # Mirrors first, because the original may be slow or gone.
    mirrors = os.environ.get(MIRROR, "").split()
    sources = [f"{mirror.rstrip('/')}/{file.path.name}" for mirror in mirrors]
    tried = []
    for source in [*sources, file.address] if file.address else sources:
        try:
            _take(source, file)
        except _Failed as why:
            tried.append(f"{source} ({why})")
        else:
            return
    raise UserError(
        f"cannot be fetched; tried {', '.join(tried) or 'nothing'}",
        str(file.path),
        f"set {MIRROR} to an address or a folder that holds {file.path.name}, or put the file at "
        f"{file.path}, or use an environment whose data are made from nothing (docs/data.md)",
    )


def check(file: RawFile) -> None:
    """Check a file; UserError if it is missing or has another size or digest than expected.

    A wrong file is set aside, so that nothing reads it.
    """
    if not file.path.is_file():
        raise UserError("there is no such file", str(file.path), f"memdt fetch {file.path}")
    wrong = _difference(file, file.path)
    if wrong is not None:
        aside = set_aside(file.path)
        raise UserError(f"{wrong}; it is set aside as {aside}", str(file.path), "fetch it again")


def _difference(file: RawFile, path: Path) -> str | None:
    """What is wrong with the content of ``path``; None if nothing is."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size:,} bytes, {file.size:,} are expected"
    if file.sha256 is not None and (digest := sha256(path)) != file.sha256:
        return f"its SHA-256 is {digest[:12]}..., {file.sha256[:12]}... is expected"
    return None


def _take(source: str, file: RawFile) -> None:
    """Fetch from one source and check the file; _Failed if the source does not have it."""
    part = file.path.with_name(f"{file.path.name}.part")
    resumed = part.exists()
    _bring(source, part, file)
    wrong = _difference(file, part)
    if wrong is not None and resumed:  # its first half may come from another source
        part.unlink()
        _bring(source, part, file)
        wrong = _difference(file, part)
    if wrong is not None:
        raise _Failed(f"{wrong}; it is set aside as {set_aside(part)}")
    # Otherwise the new name may reach the disk before the content does.
    with part.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(part, file.path)


def _bring(source: str, part: Path, file: RawFile) -> None:
    """Download or copy to ``part``."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if urlsplit(source).scheme in ("http", "https"):
            _download(source, part, file)
            return
        path = Path(source.removeprefix("file://")).expanduser()
        if not path.is_file():
            raise _Failed("no such file")
        shutil.copyfile(path, part)
    except OSError as error:  # of the disk; _download handles those of the network
        raise UserError(f"cannot be written ({error.strerror or error})", str(part)) from None


def _download(address: str, part: Path, file: RawFile) -> None:
    """Append to ``part``; try again as long as attempts bring new bytes."""
    if file.sha256 is None:
        part.unlink(missing_ok=True)  # nothing would show that both halves belong to one file
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
    """The server's response from byte ``begin`` on; _Failed if it has no such file."""
    if size is not None and begin >= size:
        begin = 0  # more than expected: start again
    # Without compression, so that ranges count bytes of the file.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={begin}-"} if begin else {})}
    with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            raise _Failed("it has fewer bytes than are here already")
        if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
            raise _Failed(f"HTTP {answer.status_code} {answer.reason}")
        yield answer


def _refuse_other_size(file: RawFile, offered: int, answer: requests.Response) -> None:
    """_Failed before a long transfer if the server has another file under this name."""
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
    """The kind of a failure; the message of requests itself is hard to read."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__
