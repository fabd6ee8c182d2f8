"""A small server that speaks as much of the hub's API as an upload needs, and keeps what it is given."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKENS = {"hf_writer": "write", "hf_reader": "read"}


class Hub(ThreadingHTTPServer):
    """``files`` are what was committed; ``commits`` that many are refused first."""

    def __init__(self, refuse: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refuse, self.repos, self.objects, self.files, self.asked = refuse, set(), {}, {}, []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = Thread(target=self.serve_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_):
        pass

    def answer(self, status, told):
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def role(self):
        return TOKENS.get(self.headers.get("Authorization", "").removeprefix("Bearer "))

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path != "/api/whoami-v2":
            return self.answer(404, {"error": "not found"})
        if self.role() is None:
            return self.answer(401, {"error": "Invalid credentials"})
        orgs = [{"name": "herd"}]
        return self.answer(
            200, {"type": "user", "name": "rider", "orgs": orgs, "auth": {"accessToken": {"role": self.role()}}}
        )

    def do_PUT(self):
        self.server.objects[self.path.rpartition("/")[2]] = self.body()
        self.answer(200, {})

    def do_POST(self):
        hub, path, body = self.server, self.path.partition("?")[0], self.body()
        hub.asked.append(path)
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if self.role() != "write":
            return self.answer(403, {"error": "forbidden"})
        if path == "/api/repos/create":
            told = json.loads(body)
            name = f"{told['organization'] or 'rider'}/{told['name']}"
            known, _ = name in hub.repos, hub.repos.add(name)
            return self.answer(409 if known else 200, {"url": f"{hub.address}/{name}"})
        if "/preupload/" in path:
            files = [
                {"path": one["path"], "shouldIgnore": False, "oid": None,
                 "uploadMode": "lfs" if one["path"].endswith((".safetensors", ".png")) else "regular"}
                for one in json.loads(body)["files"]
            ]  # fmt: skip
            return self.answer(200, {"files": files})
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{hub.address}/lfs/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if "/commit/" in path:
            return self.commit(path, body)
        return self.answer(404, {"error": "not found"})

    def commit(self, path, body):
        hub = self.server
        if hub.refuse:
            hub.refuse -= 1
            return self.answer(500, {"error": "the hub is having a bad day"})
        for line in map(json.loads, body.splitlines()):
            told = line["value"]
            if line["key"] == "file":
                hub.files[told["path"]] = base64.b64decode(told["content"])
            elif line["key"] == "lfsFile":
                hub.files[told["path"]] = hub.objects[told["oid"]]
        name = path.removeprefix("/api/models/").partition("/commit/")[0]
        return self.answer(200, {"commitUrl": f"{hub.address}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40})
