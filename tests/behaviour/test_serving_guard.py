"""Who may come in, how much they may bring, and what they are told when they may not."""

from __future__ import annotations

import base64
import io
import json
import logging
from pathlib import Path

import httpx
import pytest

fastapi = pytest.importorskip("fastapi")
from fastapi.testclient import TestClient  # noqa: E402

from hackamore.core.errors import HackamoreError, WorkFailed  # noqa: E402
from hackamore.serving.engine import Engine  # noqa: E402
from hackamore.serving.http import logs  # noqa: E402
from hackamore.serving.http.app import make_app  # noqa: E402
from hackamore.serving.http.bodies import DEEPEST, MOST_VALUES, check_json  # noqa: E402
from hackamore.serving.http.errors import Refused, reply, status_of  # noqa: E402
from hackamore.serving.http.guard import check_token, is_loopback  # noqa: E402
from hackamore.serving.local import LocalWorker  # noqa: E402
from hackamore.serving.models import Models  # noqa: E402
from hackamore.serving.refusal import Full, InUse, Later, NotKept, Unknown  # noqa: E402
from hackamore.serving.settings import Offer, ServeSettings  # noqa: E402
from tests.behaviour.serving_rig import LOCAL, Rig, errors_of, lasting, picture, rig, served, until  # noqa: E402

TOKEN = "a-secret-of-twenty-letters"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    with rig(tmp_path_factory.mktemp("guard"), limits={"body_mib": 0.25}) as one:
        yield one


@pytest.fixture(scope="module")
def client(parts: Rig) -> TestClient:
    return TestClient(parts.app, base_url=LOCAL)


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    with rig(tmp_path_factory.mktemp("locked"), token=TOKEN, host="0.0.0.0") as one:
        yield TestClient(one.app, base_url="http://pictures.example")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/info", "/metrics", "/v1/jobs/0/images/0", "/sdapi/v1/options"])
@pytest.mark.parametrize(
    "told",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer " + TOKEN[:-1]},
        {"Authorization": "Bearer " + TOKEN + "x"},
        {"Authorization": TOKEN},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"user:wrong").decode()},
        {"Cookie": "hackamore_token=wrong"},
        {"Cookie": 'hackamore_token="'},
    ],
)
def test_without_the_token_nothing_is_told(locked: TestClient, path: str, told: dict):
    answer = locked.get(path, headers=told)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in answer.text
    assert errors_of(answer)["type"] == "authentication_error"


@pytest.mark.parametrize(
    "told",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": "Basic " + base64.b64encode(f"anybody:{TOKEN}".encode()).decode()},
        {"Cookie": f"other=1; hackamore_token={TOKEN}"},
    ],
)
def test_with_the_token_everything_is(locked: TestClient, told: dict):
    assert locked.get("/v1/jobs", headers=told).status_code == 200


def test_a_cookie_is_for_reading_only(locked: TestClient):
    cookie = {"Cookie": f"hackamore_token={TOKEN}"}
    assert locked.post("/v1/jobs", json={"prompt": "x"}, headers=cookie).status_code == 401
    assert locked.delete("/v1/jobs/0", headers=cookie).status_code == 401
    assert locked.delete("/v1/jobs/0", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 404


def test_what_needs_no_token_tells_nothing_of_anybody(locked: TestClient):
    assert locked.get("/healthz").json().keys() == {"status", "version", "workers", "waiting", "running"}
    assert locked.get("/openapi.json").status_code == 200
    assert locked.get("/docs").status_code == 200
    assert locked.post("/healthz").status_code == 401
    for path in ("/canvas/../v1/jobs", "/canvas/..%2fv1%2fjobs", "//v1/jobs", "/V1/jobs"):
        assert locked.get(path).status_code in (401, 404), path


@pytest.mark.parametrize(
    ("host", "near"),
    [
        ("127.0.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True), ("127.9.9.9", True),
        ("0.0.0.0", False), ("192.168.1.2", False), ("::", False), ("example.com", False), ("localhost.e.com", False),
        ("127.0.0.1.evil.com", False), ("", False),
    ],
)  # fmt: skip
def test_loopback_is_told_by_its_address(host: str, near: bool):
    assert is_loopback(host) is near


def test_a_server_that_others_reach_does_not_start_without_a_good_token():
    check_token(ServeSettings())
    check_token(ServeSettings(host="0.0.0.0", token=TOKEN))
    for settings in ({"host": "0.0.0.0"}, {"host": "0.0.0.0", "token": "short"}, {"token": "with a space in it"}):
        with pytest.raises(HackamoreError, match="token"):
            check_token(ServeSettings(**settings))


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:1", "[::1]:7860", "LOCALHOST", "canvas.localhost:7860"])
def test_a_loopback_server_answers_by_its_own_names(client: TestClient, host: str):
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7860", "192.168.0.9", "127.0.0.1.evil.example", "", "["]
)
def test_another_name_for_a_loopback_server_is_refused(client: TestClient, host: str):
    answer = client.get("/v1/jobs", headers={"Host": host})
    assert answer.status_code == 403
    errors_of(answer)


def test_pages_of_other_sites_cannot_post_here(client: TestClient):
    told = {"prompt": "x", "steps": 1}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert client.post("/v1/jobs", json=told, headers=headers).status_code == 403, headers
    own = {"Origin": LOCAL, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/v1/jobs", json=told, headers=own).status_code == 202
    assert (
        "access-control-allow-origin" not in client.get("/v1/jobs", headers={"Origin": "https://evil.example"}).headers
    )


def test_a_body_that_is_too_long_is_refused_by_its_length_and_by_its_bytes(parts: Rig):
    most = int(parts.settings.limits.body_mib * 2**20)
    long = json.dumps({"prompt": "x" * 3 * most}).encode()

    def parts_of(size: int):
        for start in range(0, size, 65536):
            yield long[start : start + 65536]

    kind = {"Content-Type": "application/json"}
    with served(lasting(parts)) as url:
        for content in (long, parts_of(len(long))):
            answer = httpx.post(f"{url}/v1/jobs", content=content, headers=kind)
            assert answer.status_code == 413
            assert f"{most:,} bytes" in answer.json()["detail"]
        for kind in ({"Content-Type": "multipart/form-data; boundary=x"}, {}):
            assert httpx.post(f"{url}/v1/images/edits", content=parts_of(len(long)), headers=kind).status_code == 413
        assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "too deep"),
        (b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2), "too deep"),
        (b'{"a":' * (DEEPEST + 2) + b"1" + b"}" * (DEEPEST + 2), "too deep"),
        (b"[" + b"0," * MOST_VALUES + b"0]", "too many values"),
        (b'{"prompt": NaN}', "NaN"),
        (b'{"guidance": -Infinity}', "Infinity"),
        (b'{"guidance": 1e999}', "too large"),
        (b'{"prompt": "\\ud800"}', "no Unicode"),
        (b'{"\\udfff": 1}', "no Unicode"),
        (b'{"prompt": "\xff"}', "not valid JSON"),
        (b'{"prompt": ', "not valid JSON"),
        (b"9" * 5000, "not valid JSON"),
    ],
)
def test_json_that_no_honest_client_sends_is_refused(body: bytes, words: str):
    with pytest.raises(HackamoreError, match=words):
        check_json(body)


@pytest.mark.parametrize(
    "body", [b"", b" ", b"null", b'{"a": [1, 2.5, "\\ud83d\\ude00", null, true]}', b"[" * 40 + b"]" * 40]
)
def test_json_that_honest_clients_send_is_let_through(body: bytes):
    check_json(body)


def test_what_pydantic_finds_is_told_in_words(client: TestClient):
    told = {"prompt": "x", "steps": "many", "controls": [{"kind": "canny", "scale": -1}], "colour": 1}
    answer = client.post("/v1/jobs", json=told)
    assert answer.status_code == 422
    error = errors_of(answer)
    assert error["param"] == "steps"
    assert error["received"] == "many"
    for place in ("controls.0.scale", "colour"):
        assert place in answer.json()["detail"]


def test_errors_have_the_status_that_fits_them():
    told = {
        HackamoreError("x"): 400, WorkFailed("x"): 500, Unknown("x"): 404, Full(3, 7): 429, Refused(409, "x"): 409,
        Later("x"): 503, InUse("x"): 409, NotKept("x"): 507,
    }  # fmt: skip
    assert {error: status_of(error) for error in told} == told
    assert reply(Full(3, 7)).headers["retry-after"] == "7"


def test_the_operators_paths_are_not_told():
    settings = ServeSettings(bases=(Offer(name="own", path="/srv/secret/base"), Offer(name="meadow", path="meadow")))
    error = HackamoreError("no such file: /srv/secret/base/unet", received=settings.folder.absolute() / "x")
    body = bytes(reply(error, settings).body).decode()
    assert "secret" not in body
    assert str(settings.folder.absolute()) not in body
    assert "meadow" in bytes(reply(HackamoreError("not meadow"), settings).body).decode()


def test_a_name_on_offer_is_told_although_it_looks_like_a_path():
    settings = ServeSettings(controls=(Offer(name="meadow/canny", path="meadow/canny"),))
    body = bytes(reply(HackamoreError("unknown control", expected="known: meadow/canny"), settings).body).decode()
    assert "known: meadow/canny" in body


@pytest.mark.parametrize(("file", "input"), [("damaged", True), ("gone", False)])
def test_a_job_that_failed_does_not_tell_the_operators_paths(tmp_path: Path, file: str, input: bool):  # noqa: A002
    path = tmp_path / "secret" / "x.safetensors"
    path.parent.mkdir()
    if file == "damaged":
        path.write_bytes(b"no weights")
    controls = (Offer(name="mine", path=str(path), kind="canny"),)
    settings = ServeSettings(folder=tmp_path / "jobs", canvas=False, controls=controls)
    models = Models(settings)
    engine = Engine(settings, [LocalWorker(models, settings, "cpu", "one")], models.check)
    unit = {"kind": "canny", "image": picture(), "model": "mine"}
    with engine:
        client = TestClient(make_app(settings, engine, models), base_url=LOCAL)
        job = client.post("/v1/jobs?wait=true", json={"prompt": "x", "steps": 1, "controls": [unit]}).json()
        followed = client.get(f"/v1/jobs/{job['id']}/events").text
    assert job["state"] == "failed"
    assert "secret" not in json.dumps(job) + followed
    assert job["error"]["input"] is input
    if file == "gone":
        assert job["error"]["what"] == "the control mine is on offer, but cannot be found any more"


def test_a_fault_is_one_sentence_and_a_request_id(parts: Rig, monkeypatch: pytest.MonkeyPatch, caplog):
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret of the server")

    monkeypatch.setattr(parts.engine, "jobs", broken)
    client = TestClient(parts.app, base_url=LOCAL)
    with caplog.at_level(logging.INFO):
        answer = client.get("/v1/jobs", headers={"X-Request-ID": "mine-1"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "mine-1" in errors_of(answer)["remedy"]
    assert answer.headers["x-request-id"] == "mine-1"
    assert any(record.exc_info for record in caplog.records)


def test_every_answer_has_its_headers_and_an_id(client: TestClient):
    seen = set()
    for path in ("/v1/jobs", "/healthz", "/v1/nothing", "/metrics"):
        headers = client.get(path, headers={"X-Request-ID": "bad id\n"}).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        seen.add(headers["x-request-id"])
    assert len(seen) == 4


def test_a_method_that_a_route_has_not_is_told_with_those_it_has(client: TestClient):
    answer = client.put("/v1/jobs", json={})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    assert client.post("/metrics").status_code == 405
    assert client.get("/v1").status_code == 404


@pytest.mark.parametrize("asked", [False, True])
def test_the_log_is_json_and_holds_prompts_only_where_asked(tmp_path, asked: bool):
    stream = io.StringIO()
    names = ("hackamore", "uvicorn")
    before = [
        (logging.getLogger(n).handlers, logging.getLogger(n).propagate, logging.getLogger(n).level) for n in names
    ]
    logs.set_up(stream)
    try:
        with rig(tmp_path, log_prompts=asked) as one:
            client = TestClient(one.app, base_url=LOCAL)
            unit = {"kind": "canny", "image": "AAAA", "prompt": "private too"}
            told = {"prompt": "private words", "negative": "private as well", "steps": 1, "seed": 3}
            client.post("/v1/jobs?wait=true", json=told)
            client.post("/v1/jobs?wait=true", json=told | {"controls": [unit]})
            failed = client.post("/v1/jobs?wait=true", json=told | {"prompt": "fail"}).json()
            until(lambda: "job over" in stream.getvalue())
    finally:
        for name, (handlers, propagate, level) in zip(names, before, strict=True):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    over = next(line for line in lines if line["event"] == "job over")
    assert (over["state"], over["request"]["seed"]) == ("done", 3)
    request = next(line for line in lines if line["event"] == "request")
    assert (request["route"], request["method"]) == ("/v1/jobs", "POST")
    failure = next(line for line in lines if line["event"] == "job failed")
    assert (failure["job"], failure["what"], failure["input"]) == (failed["id"], "the colours ran out", False)
    assert (failure["level"], failure["worker"]) == ("warning", "painter")
    assert ("private" in stream.getvalue()) is asked
