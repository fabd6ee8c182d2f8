"""Hostile inputs for a server: files, numbers, words, bodies, headers and bytes that no honest client sends."""

from __future__ import annotations

import base64
import copy
import json
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Input:
    """One hostile request. ``raw``: bytes on the wire instead of a request that a library would send."""

    method: str = "POST"
    path: str = "/v1/jobs"
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    raw: bytes | None = None


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, rows: bytes, kind: int = 0, depth: int = 8, more: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    body = _chunk(b"IHDR", head) + more + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


GOOD = _png(16, 16, (b"\0" + b"\0" * 8 + b"\xff" * 8) * 16)
"""A picture with an edge."""


def _files() -> list[bytes]:
    """Files that are no honest picture."""
    bomb = _png(30_000, 30_000, b"\0" * 2_000_000, depth=1)
    text = _chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 30_000_000, 9))
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + struct.pack("<HHIIHHII", 256, 4, 1, 2**31, 257, 4, 1, 2**31)
    return [
        b"", b"x", GOOD[:40], GOOD[:-20], GOOD[:8] + b"\0" * 200, bomb, _png(2**31 - 1, 2**31 - 1, b""),
        _png(16, 16, b"\0" * 10), _png(16, 16, b"\0" * 400, more=text), _png(0, 0, b""), _png(7, 7, b"\0" * 60),
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>", b"%!PS-Adobe-3.0 EPSF-3.0\n(x) run",
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\xf7\0\0" + b"\0" * 768 + b",", b"BM" + b"\xff" * 100,
        b"RIFF\xff\xff\xff\xffWEBPVP8 ", b"\xff\xd8\xff\xe0" + b"\xff" * 60, b"PK\x03\x04" + b"\0" * 60, tiff,
        b"\x80\x04cos\nsystem\n(S'id'\ntR.", b"P6\n99999 99999\n255\n", b"%PDF-1.7\n", b"\0\0\x01\0" + b"\xff" * 40,
        b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 60,
    ]  # fmt: skip


PLACES = [
    "/etc/passwd", "file:///etc/passwd", "../../../../etc/passwd", "..\\..\\windows\\win.ini", "C:\\boot.ini",
    "http://169.254.169.254/latest/meta-data", "http://127.0.0.1:1/x.png", "https://example.com/x.png",
    "ftp://example.com/x", "gopher://127.0.0.1:6379/_x", "\\\\host\\share\\x.png", "/dev/zero", "/dev/stdin",
    "/proc/self/environ", "~/.ssh/id_rsa", "$HOME", "`id`", "$(id)", "; id", "meadow/../../../etc", "meadow\0/etc",
    "data:image/png;base64,/etc/passwd", "data:text/html,<script>alert(1)</script>", "data:;base64,",
    "data:image/png;base64," + base64.b64encode(GOOD).decode()[:-9], "{{7*7}}", "%2e%2e%2fetc%2fpasswd", "__class__",
    "file=/etc/passwd", "\u202egnp.x", "\ud83d\ude00" * 50, "A" * 20_000, "=" * 100, "\r\nSet-Cookie: x=1",
    "' OR 1=1 --",
]  # fmt: skip
NUMBERS: list[Any] = [
    -1, 0, 1, -(2**31), 2**31, 2**63, 2**64, 10**30, 1e308, -1e308, 5e-324, 0.5, -0.0, True, False, None, "1", "NaN",
    "",
    [], {}, [1], [[1]], {"a": 1}, [-1, -1], [0, 0], [10**9, 10**9], [8, 10**12], [128], [128, 128, 128], ["a", "b"],
    1e-9,
]  # fmt: skip
WORDS: list[Any] = [
    "canny", "seg", "", "none", "\0", "x" * 5000, "1@0/" * 99 + "1@1", "a@b", "nan@0/1@1", "1e999@0/0@1",
    "0.5@0.9/1@0.1",
    "-1@0/1@1", {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, {"$ref": "#/etc"}, ["a"] * 1000,
]  # fmt: skip
PEOPLE: list[Any] = [
    {"people": []}, {"people": [{}], "canvas_width": -1, "canvas_height": 1}, {"people": "all"}, {"people": [[]]},
    {"people": [{"pose_keypoints_2d": [1e30] * 54}], "canvas_width": 65536, "canvas_height": 65536},
    {"people": [{"pose_keypoints_2d": [0.5] * 54}] * 2000, "canvas_width": 64, "canvas_height": 64},
    {"people": [{"pose_keypoints_2d": ["x"] * 54}], "canvas_width": 64, "canvas_height": 64},
    {"people": [{"pose_keypoints_2d": [-5.0, 1e9, 1.0] * 18}], "canvas_width": 64, "canvas_height": 64},
    {"people": [{"pose_keypoints_2d": [3, 4, 1] * 18, "face_keypoints_2d": [1]}], "canvas_width": 8,
    "canvas_height": 8},
    {"people": [{"pose_keypoints_2d": [[[[1]]]]}], "canvas_width": 1, "canvas_height": 1}, [{"people": []}], {},
]  # fmt: skip
BODIES = [
    b"", b"null", b"0", b'"x"', b"[]", b"{}", b"{", b"[" * 100_000, b'{"a":' * 5000 + b"1" + b"}" * 5000,
    b"\xff\xfe{\0}\0",
    b'\xef\xbb\xbf{"prompt":"x"}', b'{"prompt":"\xc3\x28"}', b'{"prompt":"x","prompt":"y","steps":1}',
    b"[" + b"[],[],[]," * 200_000,
    b'{"prompt":"x","guidance":NaN}', b'{"prompt":"x","guidance":Infinity}', b'{"prompt":"x","deadline":1e999}',
    b'{"prompt":"x","seed":' + b"9" * 6000 + b"}", b'{"prompt":"\\ud800"}', b'{"prompt":"\\u0000","steps":1}',
    b'{"prompt":"' + b"x" * 3_000_000 + b'"}', b'{"__proto__":{"x":1},"prompt":"x","steps":1}', b"<xml/>", b"a=1&b=2",
    b"\0" * 1000,
]  # fmt: skip


def _templates() -> list[tuple[str, dict[str, Any]]]:
    """Routes, and bodies that they take."""
    image = base64.b64encode(GOOD).decode()
    unit = {
        "kind": "canny",
        "image": image,
        "scale": 0.5,
        "start": 0.0,
        "end": 1.0,
        "mode": "balanced",
        "parameters": {"low": 9},
    }
    web = {"enabled": True, "module": "canny", "model": "meadow/canny", "image": image, "weight": 1.0, "resize_mode": 1,
           "guidance_start": 0.0, "guidance_end": 1.0, "processor_res": 64, "threshold_a": 10,
           "control_mode": 0}  # fmt: skip
    common = {"prompt": "x", "steps": 1, "seed": 1}
    return [
        ("/v1/jobs", {**common, "size": [64, 64], "num": 1, "guidance": 2.0, "scheduler": "ddim", "controls": [unit]}),
        ("/v1/jobs", {**common, "init": image, "mask": image, "strength": 0.5, "base": "meadow", "live": "x",
        "deadline": 5}),
        ("/v1/jobs", {**common, "controls": [{**unit, "schedule": "1@0/0@1", "mask": image, "model": "meadow/canny",
        "type": "x"}]}),
        ("/v1/annotate", {"kind": "canny", "image": image, "parameters": {"low": 5}, "size": [32, 32],
        "resize": "crop"}),
        ("/v1/annotate", {"kind": "pose", "people": PEOPLE[3], "size": [32, 32], "hint": False}),
        ("/sdapi/v1/txt2img", {**common, "width": 64, "height": 64, "cfg_scale": 2, "sampler_name": "Euler",
        "batch_size": 1,
                               "alwayson_scripts": {"controlnet": {"args": [web]}}}),
        ("/sdapi/v1/img2img", {**common, "init_images": [image], "mask": image, "denoising_strength": 0.5, "width": 64,
        "height": 64}),
        ("/controlnet/detect", {"controlnet_module": "canny", "controlnet_input_images": [image],
        "controlnet_processor_res": 64,
                                "controlnet_threshold_a": 1.0, "controlnet_threshold_b": 2.0}),
        ("/controlnet/render_openpose_json", {"poses": [PEOPLE[3]]}),
        ("/sdapi/v1/png-info", {"image": image}),
        ("/sdapi/v1/options", {"sd_model_checkpoint": "meadow"}),
        ("/v1/images/generations", {"prompt": "x", "n": 1, "size": "64x64", "model": "meadow",
        "response_format": "b64_json"}),
    ]  # fmt: skip


TARGETS = [
    "/gradio_api/file=/etc/passwd", "/file=/etc/passwd", "/file/etc/passwd", "/gradio_api/proxy=http://127.0.0.1:1/x",
    "/proxy=https://example.com/", "/gradio_api/stream/x", "/gradio_api/upload_progress?upload_id=1",
    "/static/../../etc/passwd",
    "/assets/..%2f..%2f..%2fetc%2fpasswd", "/canvas/../../../../etc/passwd", "/canvas/%2e%2e/%2e%2e/pyproject.toml",
    "/canvas//etc/passwd", "/theme.css?x=../../etc/passwd", "/v1/jobs/../../etc/passwd", "/v1/jobs/%2e%2e%2f%2e%2e",
    "/v1/jobs/%00",
    "/v1/jobs/" + "0" * 32, "/v1/jobs/" + "0" * 32 + "/images/0?format=../../x", "/v1/jobs/x/images/-1",
    "/v1/jobs/x/hints/" + "9" * 400,
    "/v1/jobs?limit=-1", "/v1/jobs?limit=" + "9" * 400, "/v1/jobs?before=nan", "/v1/jobs?before=1e999",
    "/v1/jobs?before=%ff",
    "/v1/models/..%2f..%2fetc%2fpasswd", "/v1/models//etc/passwd", "/v1/models/%00",
    "/sdapi/v1/progress?skip_current_image=maybe",
    "/controlnet/model_list?update=" + "x" * 3000, "/healthz?x=" + "y" * 9000, "/metrics/../v1/jobs",
    "//evil.example/x", "/%ff%fe", "/%c3%a9",
]  # fmt: skip
POSTS = [
    "/gradio_api/upload", "/gradio_api/run/predict", "/gradio_api/call/x", "/gradio_api/queue/join", "/run/predict",
    "/upload",
    "/gradio_api/reset", "/gradio_api/component_server", "/login", "/v1/models/..%2fx/load",
    "/v1/models/%2fetc%2fpasswd/load",
    "/v1/models/http:%2f%2f127.0.0.1:1%2fx/load", "/v1/jobs/..%2f..%2fx/cancel", "/sdapi/v1/refresh-checkpoints",
]  # fmt: skip
HEADERS: list[dict[str, str]] = [
    {"Host": "evil.example"}, {"Host": ""}, {"Host": "127.0.0.1.evil.example"}, {"X-Forwarded-Host": "evil.example"},
    {"X-Forwarded-For": "1.2.3.4," * 500}, {"X-Original-URL": "/metrics"}, {"X-HTTP-Method-Override": "DELETE"},
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Cookie": "a=" * 2000},
    {"Content-Type": "text/plain"}, {"Content-Type": "application/json; charset=utf-7"},
    {"Content-Type": "multipart/form-data"},
    {"Content-Type": "multipart/form-data; boundary=" + "x" * 500},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Encoding": "gzip"}, {"Accept": "../../etc/passwd"}, {"Range": "bytes=0-999999999999"},
    {"X-Request-ID": "x" * 5000},
    {"Authorization": "Bearer wrong"}, {"Authorization": "Basic " + "A" * 3000}, {"Expect": "200-maybe"},
    {"Connection": "upgrade", "Upgrade": "websocket"},
]  # fmt: skip
_POST, _GET = (name + b" /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n" for name in (b"POST", b"GET"))
WIRE = [
    _POST + b"Content-Length: -5\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /\xc3\xa9/\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"\0" * 500,
    b"\x16\x03\x01\x02\0",
    _POST + b"Content-Length: 5\r\nContent-Length: 50\r\n\r\n{}",
    _POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    b"GET " + b"/" * 80_000 + b" HTTP/1.1\r\n\r\n",
    _POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
    b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    _GET + b"Host: evil.example\r\n\r\n",
    _GET + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    _POST + b'Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{"pro',
    b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"TRACE /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"FOO /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
]


def hostile_pictures() -> list[str]:
    """A good picture, and then files that are none, in base64."""
    return [base64.b64encode(data).decode() for data in (GOOD, *_files())]


def hostile_inputs(count: int, seed: int = 0) -> Iterator[Input]:
    """``count`` inputs, the same for the same ``seed``; every list above has its turn."""
    chance = random.Random(seed)
    files = hostile_pictures()[1:]
    kinds = [_mutated] * 14 + [_whole, _target, _posted, _headed, _multipart, _wire]
    for number in range(count):
        yield kinds[number % len(kinds)](chance, files)


def _mutated(chance: random.Random, files: list[str]) -> Input:
    """A body that a route takes, with one to three of its values exchanged."""
    path, body = copy.deepcopy(chance.choice(_templates()))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        holder, key = chance.choice(list(_spots(body)))
        pool = chance.choice((files, PLACES, PLACES, NUMBERS, NUMBERS, WORDS, PEOPLE))
        holder[key] = copy.deepcopy(chance.choice(pool))
    content = json.dumps(body).encode()
    if chance.random() < 0.05:
        content = content.replace(b"1", chance.choice((b"NaN", b"Infinity", b"1e999", b"-")), 1)
    return Input(path=path, headers={"Content-Type": "application/json"}, content=content)


def _spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON value that can be exchanged."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(one, dict | list):
            yield from _spots(one)


def _whole(chance: random.Random, files: list[str]) -> Input:
    path = chance.choice(_templates())[0]
    return Input(path=path, headers={"Content-Type": "application/json"}, content=chance.choice(BODIES))


def _target(chance: random.Random, files: list[str]) -> Input:
    return Input(chance.choice(("GET", "GET", "GET", "DELETE", "PUT", "OPTIONS")), chance.choice(TARGETS))


def _posted(chance: random.Random, files: list[str]) -> Input:
    told = {"data": [{"path": "/etc/passwd"}], "fn_index": 0, "session_hash": "x", "url": "http://127.0.0.1:1/"}
    kind = {"Content-Type": "application/json"}
    return Input(path=chance.choice(POSTS), headers=kind, content=json.dumps(told).encode())


def _headed(chance: random.Random, files: list[str]) -> Input:
    path, body = chance.choice(_templates())
    headers = {"Content-Type": "application/json", **chance.choice(HEADERS)}
    return Input(path=path, headers=headers, content=json.dumps(body).encode())


def _multipart(chance: random.Random, files: list[str]) -> Input:
    """The one route that takes files."""
    name = chance.choice(("x.png", "../../etc/passwd", "/etc/cron.d/x", "x.svg", "\\x", "", "a" * 3000))
    data = base64.b64decode(chance.choice(files)) if chance.random() < 0.7 else GOOD
    fields = {"prompt": "x", "n": str(chance.choice(NUMBERS)), "size": str(chance.choice(("64x64", *NUMBERS, *PLACES)))}
    lines = [f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()]
    lines.append(f'--b\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n')
    content = "".join(lines).encode("utf-8", "replace") + data + chance.choice((b"\r\n--b--\r\n", b"", b"\r\n--b\r\n"))
    return Input(path="/v1/images/edits", headers={"Content-Type": "multipart/form-data; boundary=b"}, content=content)


def _wire(chance: random.Random, files: list[str]) -> Input:
    return Input(raw=chance.choice(WIRE))
