"""Fetching over a server on this machine that breaks off, lies, or knows no ranges."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from memdt.data import download
from memdt.data.sources.size import RawFile
from memdt.errors import UserError

CONTENT = np.random.default_rng(0).bytes(700_000)
OTHER = np.random.default_rng(1).bytes(700_000)


@dataclass
class Server:
    """What is served, how, and what was asked for."""

    address: str = ""
    content: dict[str, bytes] = field(default_factory=dict)
    breaks_after: list[int] = field(default_factory=list)  # bytes of the next answers
    ranges: bool = True
    requested: list[str | None] = field(default_factory=list)  # the range of each request


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    monkeypatch.delenv(download.MIRROR, raising=False)
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            header = self.headers["Range"]
            made.requested.append(header)
            content = made.content.get(self.path.lstrip("/"))
            if content is None:
                self.send_error(404, "Not Found")
                return
            begin = int(header.removeprefix("bytes=").removesuffix("-")) if header else 0
            begin *= made.ranges
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(content) - begin))
            self.end_headers()
            until = begin + made.breaks_after.pop(0) if made.breaks_after else None
            self.wfile.write(content[begin:until])

        def log_message(self, *arguments):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{running.server_port}"
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    running.shutdown()
    thread.join()
    running.server_close()


def raw_file(server, name="set.hdf5", content=CONTENT):
    digest = hashlib.sha256(content).hexdigest()
    address = f"{server.address}/{name}"
    return RawFile(Path("data/raw/fetched") / name, address, len(content), digest)


def content_of(file):
    return file.path.read_bytes()


def test_a_file_comes_whole_and_alone(server):
    server.content["set.hdf5"] = CONTENT
    download.fetch(file := raw_file(server))
    assert content_of(file) == CONTENT
    assert [one.name for one in file.path.parent.iterdir()] == ["set.hdf5"]


def test_what_is_there_and_right_is_left_alone(server):
    file = raw_file(server)
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(CONTENT)
    download.fetch(file)
    assert server.requested == []


def test_a_broken_download_resumes_where_it_broke(server):
    server.content["set.hdf5"] = CONTENT
    server.breaks_after = [300_000, 200_000]
    download.fetch(file := raw_file(server))
    assert content_of(file) == CONTENT
    begins = [int(one.removeprefix("bytes=").removesuffix("-")) for one in server.requested[1:]]
    assert begins == sorted(begins)
    assert 200_000 < begins[0] <= 300_000 < begins[1] <= 500_000


def test_a_later_command_goes_on_where_the_one_before_was_ended(server):
    server.content["set.hdf5"] = CONTENT
    file = raw_file(server)
    file.path.parent.mkdir(parents=True)
    file.path.with_name("set.hdf5.part").write_bytes(CONTENT[:1000])
    download.fetch(file)
    assert server.requested == ["bytes=1000-"]
    assert content_of(file) == CONTENT


def test_without_ranges_a_download_begins_again(server):
    server.content["set.hdf5"] = CONTENT
    server.ranges, server.breaks_after = False, [300_000]
    download.fetch(file := raw_file(server))
    assert content_of(file) == CONTENT


def test_a_first_half_of_another_file_does_not_spoil_the_second(server):
    server.content["set.hdf5"] = CONTENT
    file = raw_file(server)
    file.path.parent.mkdir(parents=True)
    file.path.with_name("set.hdf5.part").write_bytes(OTHER[:1000])
    download.fetch(file)
    assert content_of(file) == CONTENT


def test_without_a_digest_nothing_is_resumed(server):
    server.content["set.hdf5"] = CONTENT
    file = RawFile(Path("data/raw/fetched/set.hdf5"), f"{server.address}/set.hdf5")
    file.path.parent.mkdir(parents=True)
    file.path.with_name("set.hdf5.part").write_bytes(OTHER[:1000])
    download.fetch(file)
    assert server.requested == [None]
    assert content_of(file) == CONTENT


@pytest.mark.parametrize("damage", [OTHER, CONTENT[:-1] + b"x"])
def test_a_wrong_digest_is_set_aside_named_and_never_taken(server, damage):
    server.content["set.hdf5"] = damage
    with pytest.raises(UserError, match=r"SHA-256 .* set aside as data/set_aside/\S+part") as error:
        download.fetch(file := raw_file(server))
    assert server.address in error.value.what
    assert not list(file.path.parent.iterdir())
    assert len(list(Path("data/set_aside").rglob("*.part"))) == 1


def test_another_size_is_refused_before_it_is_transferred(server):
    server.content["set.hdf5"] = CONTENT + b"more"
    with pytest.raises(UserError, match="it offers 700,004 bytes, 700,000 are expected"):
        download.fetch(raw_file(server))


def test_a_mirror_comes_first_and_the_address_stands_in_for_it(server, monkeypatch):
    server.content |= {"set.hdf5": CONTENT, "mirror/set.hdf5": CONTENT}
    monkeypatch.setenv(download.MIRROR, f"{server.address}/gone {server.address}/mirror/")
    file = raw_file(server)
    file = RawFile(file.path, f"{server.address}/nowhere", file.size, file.sha256)
    download.fetch(file)
    assert content_of(file) == CONTENT
    assert len(server.requested) == 2  # 404, then the second mirror; never the address


def test_a_missing_mirror_leads_to_the_address(server, monkeypatch):
    server.content["set.hdf5"] = CONTENT
    monkeypatch.setenv(download.MIRROR, f"{server.address}/gone")
    download.fetch(file := raw_file(server))
    assert content_of(file) == CONTENT


def test_a_folder_serves_as_a_mirror(server, monkeypatch, tmp_path):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "set.hdf5").write_bytes(CONTENT)
    monkeypatch.setenv(download.MIRROR, "shelf")
    download.fetch(file := raw_file(server))
    assert content_of(file) == CONTENT
    assert server.requested == []


def test_a_failed_download_names_what_was_tried_and_three_remedies(server, monkeypatch):
    monkeypatch.setenv(download.MIRROR, "shelf http://127.0.0.1:1")
    with pytest.raises(UserError) as error:
        download.fetch(raw_file(server))
    line = error.value.line()
    assert "\n" not in line
    assert line.startswith("data/raw/fetched/set.hdf5: ")
    for part in (
        "shelf/set.hdf5 (no such file)", "http://127.0.0.1:1/set.hdf5 (no connection)",
        f"{server.address}/set.hdf5 (HTTP 404 Not Found)", "MEMDT_MIRROR",
        "data/raw/fetched/set.hdf5", "made from nothing",
    ):  # fmt: skip
        assert part in line


def test_a_damaged_file_is_fetched_again(server):
    server.content["set.hdf5"] = CONTENT
    file = raw_file(server)
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(OTHER)
    download.fetch(file)
    assert content_of(file) == CONTENT
    assert Path("data/set_aside/data/raw/fetched/set.hdf5").read_bytes() == OTHER


def test_a_reader_refuses_a_damaged_file(server):
    file = raw_file(server)
    with pytest.raises(UserError, match="there is no such file"):
        download.check(file)
    file.path.parent.mkdir(parents=True)
    file.path.write_bytes(OTHER)
    with pytest.raises(UserError, match="set aside"):
        download.check(file)
    assert not file.path.exists()
