"""Shards that are fetched: asked for once, gone on with where they broke."""

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hackamore.core.errors import WorkFailed
from hackamore.data.dataset import open_dataset
from hackamore.data.settings import DataSettings
from hackamore.data.sources import fetch as fetching
from hackamore.data.sources.fetch import fetch
from tests.layouts import EXAMPLES, SIZE, same, shard, shards


class Server(BaseHTTPRequestHandler):
    """Files of a folder with ranges and ETags; a connection breaks off after ``budget`` bytes of one answer."""

    def do_GET(self):
        path = Path(self.server.folder) / self.path.lstrip("/")
        if not path.is_file():
            return self.send_error(404)
        content, etag, start = path.read_bytes(), f'"{path.stat().st_mtime_ns}"', 0
        told = self.headers.get("Range")
        if told and self.headers.get("If-Range") == etag:
            start = int(told.removeprefix("bytes=").rstrip("-"))
        self.server.asked.append(start)
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + self.server.budget])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    running.folder, running.asked, running.budget = tmp_path / "served", [], 1 << 30
    running.folder.mkdir()
    running.address = f"http://127.0.0.1:{running.server_address[1]}"
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_shards_are_streamed_into_the_cache_and_asked_for_once(server, tmp_path, wanted):
    shards(server.folder)
    settings = DataSettings(
        path=f"{server.address}/a{{000..002}}.tar", cache=tmp_path / "cache", crops=2, flip=True, buckets=True
    )
    told = []
    same(open_dataset(settings, ["circle"], SIZE, multiple=8, progress=lambda *now: told.append(now)), wanted)
    assert told == [(1, 3), (2, 3), (3, 3)]
    same(open_dataset(settings, ["circle"], SIZE, multiple=8), wanted)
    assert server.asked == [0, 0, 0]


def test_a_limit_fetches_no_more_than_it_needs(server, tmp_path):
    shards(server.folder)
    settings = DataSettings(path=f"{server.address}/a{{000..002}}.tar", cache=tmp_path / "cache", limit=2)
    assert len(open_dataset(settings, ["circle"], SIZE)) == 2
    assert server.asked == [0]


def test_who_wants_the_same_shard_at_once_waits_for_it(server, tmp_path):
    whole = shard(server.folder / "a.tar", EXAMPLES).read_bytes()
    with ThreadPoolExecutor(6) as pool:
        gate = threading.Barrier(6)

        def get(_):
            gate.wait(10)
            return fetch(f"{server.address}/a.tar", tmp_path / "cache")

        paths = list(pool.map(get, range(6)))
    assert server.asked == [0]
    assert {path.read_bytes() for path in paths} == {whole}
    assert [file.name for file in paths[0].parent.iterdir()] == [paths[0].name]


def test_a_broken_connection_is_gone_on_with(server, tmp_path):
    whole = shard(server.folder / "a.tar", EXAMPLES).read_bytes()
    server.budget = len(whole) // 4
    with pytest.raises(WorkFailed, match="could not be fetched"):
        fetch(f"{server.address}/a.tar", tmp_path / "cache")
    assert server.asked == [0, server.budget, 2 * server.budget]
    server.budget = len(whole)
    path = fetch(f"{server.address}/a.tar", tmp_path / "cache")
    assert server.asked[3:] == [3 * (len(whole) // 4)]
    assert path.read_bytes() == whole
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_that_has_changed_is_begun_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "TRIES", 1)
    first = shard(server.folder / "a.tar", EXAMPLES[:3])
    server.budget = 5000
    with pytest.raises(WorkFailed):
        fetch(f"{server.address}/a.tar", tmp_path / "cache")
    first.unlink()
    whole = shard(first, EXAMPLES[3:]).read_bytes()
    server.budget = len(whole)
    assert fetch(f"{server.address}/a.tar", tmp_path / "cache").read_bytes() == whole


def test_what_is_not_there_is_said_at_once(server, tmp_path):
    with pytest.raises(WorkFailed, match=r"nothing\.tar could not be fetched"):
        fetch(f"{server.address}/nothing.tar", tmp_path / "cache")
    assert server.asked == []
