"""The clients ``webuiapi`` and ``openai``, as they are on PyPI, against a real server with Meadow."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import uvicorn
import webuiapi
from PIL import Image

from hackamore.core.palette import COLOURS
from hackamore.core.recipe import read_recipe
from hackamore.serving.engine import Engine, Full
from hackamore.serving.http.app import make_app
from hackamore.serving.job import Job
from hackamore.serving.local import LocalWorker
from hackamore.serving.models import Models
from hackamore.serving.request import Request
from hackamore.serving.settings import Limits, ServeSettings

SIDE = 128
TOKEN = "a-secret-of-tests"
PATIENCE = 120.0
"""Seconds that anything may take here."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Engine]]:
    """The port of a server with one worker, and its engine."""
    folder = tmp_path_factory.mktemp("served")
    settings = ServeSettings(folder=folder, token=TOKEN, canvas=False, limits=Limits(queue=4, steps=400))
    models = Models(settings)
    with Engine(settings, [LocalWorker(models, settings, "cpu", "one")], models.check) as engine:
        server = uvicorn.Server(uvicorn.Config(make_app(settings, engine, models), port=0, log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1], engine
        server.should_exit = True
        thread.join(PATIENCE)


@pytest.fixture
def webui(served: tuple[int, Engine]) -> Iterator[webuiapi.WebUIApi]:
    api = webuiapi.WebUIApi(port=served[0], username="anyone", password=TOKEN, sampler="DDIM", steps=4)
    yield api
    api.session.close()


@pytest.fixture
def client(served: tuple[int, Engine]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{served[0]}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


def until(true: Callable[[], Any]) -> None:
    """Wait until something is true, for a bounded time."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def photo() -> Image.Image:
    """A hill before a sky, with a hut."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    picture = np.full((SIDE, SIDE, 3), (150, 180, 220), np.uint8)
    picture[rows > 70 + 20 * np.sin(columns / 20)] = (70, 120, 50)
    picture[80:100, 40:70] = (150, 60, 40)
    return Image.fromarray(picture)


def painting() -> Image.Image:
    """Sky over water, in the palette of the worlds."""
    picture = np.empty((SIDE, SIDE, 3), np.uint8)
    picture[:60], picture[60:] = COLOURS[0], COLOURS[2]
    return Image.fromarray(picture)


def hole() -> Image.Image:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[64:112, 40:100] = 255
    return Image.fromarray(mask)


def two_units() -> list[webuiapi.ControlNetUnit]:
    return [
        webuiapi.ControlNetUnit(image=photo(), module="canny", model="control_v11p_sd15_canny [d14c016b]", weight=0.8),
        webuiapi.ControlNetUnit(image=painting(), module="none", model="meadow/seg", guidance_end=0.75),
    ]


def test_txt2img_with_two_units(webui: webuiapi.WebUIApi) -> None:
    result = webui.txt2img(
        prompt="a lake under a clear sky", seed=5, width=SIDE, height=SIDE, controlnet_units=two_units()
    )
    picture, *maps = result.images
    assert picture.size == (SIDE, SIDE)
    assert [one.size for one in maps] == [(SIDE, SIDE)] * 2
    assert (np.asarray(maps[1].convert("RGB")) == np.asarray(painting())).all()
    units = result.json["hackamore"]["units"]
    assert [one["control"] for one in units] == ["meadow/canny", "meadow/seg"]
    assert [one["scale"] for one in units] == [0.8, 1.0]
    assert units[1]["end"] == 0.75
    assert all(one["hint_sha256"] and one["sha256"] and one["fidelity"] for one in units)
    assert result.info["seed"] == 5
    assert result.info["sampler_name"] == "DDIM"
    assert 'ControlNet 1: "Module: seg' in result.info["infotexts"][0]
    assert result.info["infotexts"][0] == picture.info["parameters"]
    assert any("meadow/canny" in notice for notice in result.json["hackamore"]["notices"])


def test_the_same_request_gives_the_same_picture_and_another_seed_another(webui: webuiapi.WebUIApi) -> None:
    def made(seed: int) -> bytes:
        return webui.txt2img(prompt="a lake", seed=seed, width=SIDE, height=SIDE).image.tobytes()

    assert made(3) == made(3)
    assert made(3) != made(4)


def test_img2img_begins_from_the_picture(webui: webuiapi.WebUIApi) -> None:
    result = webui.img2img(
        images=[photo()], prompt="a hill", denoising_strength=0.5, seed=1, width=SIDE, height=SIDE, batch_size=2
    )
    assert len(result.images) == 2
    assert result.info["all_seeds"] == [1, 2]
    distance = np.abs(np.asarray(result.image, float) - np.asarray(photo(), float)).mean()
    other = np.abs(np.asarray(result.image, float) - np.asarray(photo(), float)[::-1]).mean()
    assert distance < other
    assert result.parameters["init_images"] is None


@pytest.mark.parametrize("only_masked", [True, False])
def test_inpainting_leaves_the_rest_to_the_pixel(webui: webuiapi.WebUIApi, only_masked: bool) -> None:
    result = webui.img2img(
        images=[photo()], mask_image=hole(), mask_blur=0, prompt="water", seed=2, width=SIDE, height=SIDE,
        denoising_strength=0.9, inpaint_full_res=only_masked, inpaint_full_res_padding=8,
    )  # fmt: skip
    made, before, white = np.asarray(result.image), np.asarray(photo()), np.asarray(hole()) > 0
    assert (made[~white] == before[~white]).all()
    assert (made[white] != before[white]).any()


def test_what_cannot_be_done_is_told_in_words(webui: webuiapi.WebUIApi) -> None:
    for fields, words in (
        ({"restore_faces": True}, "restore_faces"),
        ({"controlnet_units": [webuiapi.ControlNetUnit(image=photo(), module="depth_midas")]}, "depth_midas"),
        ({"controlnet_units": [webuiapi.ControlNetUnit(image=photo(), model="control_v11f1p_sd15_depth")]}, "unit 0"),
        ({"sampler_name": "Heun"}, "Heun"),
        ({"override_settings": {"sd_model_checkpoint": "deliberate"}}, "deliberate"),
        ({"width": 100}, "multiples"),
    ):
        with pytest.raises(RuntimeError, match="detail") as error:
            webui.txt2img(prompt="a lake", **{"width": SIDE, "height": SIDE, "alwayson_scripts": {}, **fields})
        status, text = error.value.args
        assert status in (400, 422)
        assert words in json.loads(text)["detail"]


def test_lists_are_read(webui: webuiapi.WebUIApi) -> None:
    assert webui.has_controlnet
    assert webui.controlnet_version() == 3
    names = [name.partition(" [")[0] for name in webui.controlnet_model_list()]
    assert names == ["meadow/canny", "meadow/seg"]
    assert {"none", "canny", "seg", "tile_resample"} <= set(webui.controlnet_module_list())
    assert "DDIM" in webui.util_get_sampler_names()
    assert "karras" in webui.util_get_scheduler_names()
    assert webui.util_get_model_names()[0].startswith("meadow")
    assert webui.util_get_current_model().startswith("meadow")
    webui.util_set_model("Meadow")
    lists = ("upscalers", "loras", "sd_vae", "hypernetworks", "face_restorers", "prompt_styles", "latent_upscale_modes")
    assert [getattr(webui, f"get_{name}")() for name in lists] == [[]] * len(lists)
    assert webui.get_embeddings() == {"loaded": {}, "skipped": {}}
    assert webui.get_memory()["ram"]["used"] >= 0
    assert webui.get_cmd_flags()["api"]
    assert webui.refresh_checkpoints() is None
    types = webui.custom_get("controlnet/control_types")["control_types"]
    assert types["Canny"]["default_option"] == "canny"
    assert types["Segmentation"]["default_model"].startswith("meadow/seg")
    assert webui.custom_get("controlnet/settings")["control_net_unit_count"] == Limits().units


def test_detect_and_png_info(webui: webuiapi.WebUIApi) -> None:
    result = webui.controlnet_detect([photo(), photo()], module="canny", processor_res=SIDE, threshold_a=50)
    assert result.info == "Success"
    assert len(result.images) == 2
    assert set(np.unique(np.asarray(result.image))) == {0, 255}
    made = webui.txt2img(prompt="a lake", seed=9, width=SIDE, height=SIDE)
    told = webui.png_info(made.image)
    assert told.parameters["Seed"] == "9"
    with pytest.raises(RuntimeError, match="interrogate"):
        webui.interrogate(photo())


def test_a_pose_is_drawn(webui: webuiapi.WebUIApi) -> None:
    points = [value for joint in range(18) for value in (20 + 5 * joint, 20 + 4 * joint, 1)]
    pose = {"people": [{"pose_keypoints_2d": points}], "canvas_width": 128, "canvas_height": 96}
    url = webui.get_endpoint("controlnet/render_openpose_json", baseurl=False)
    told = webui.session.post(url, json=[pose]).json()
    drawn = Image.open(BytesIO(base64.b64decode(told["images"][0])))
    assert drawn.size == (128, 96)
    assert np.asarray(drawn).max() > 0


def test_progress_is_told_and_an_interrupt_ends_it(webui: webuiapi.WebUIApi, served: tuple[int, Engine]) -> None:
    ended: list[Any] = []

    def ask() -> None:
        with pytest.raises(RuntimeError) as error:
            webui.txt2img(prompt="a lake", steps=400, width=SIDE, height=SIDE, seed=1)
        ended.append(error.value.args)

    other = webuiapi.WebUIApi(port=served[0], username="x", password=TOKEN)
    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: 0.02 < other.get_progress()["progress"] < 1)
    told = other.get_progress()
    assert told["state"]["job_count"] == 1
    assert told["state"]["sampling_steps"] == 400
    until(lambda: other.get_progress()["current_image"])
    assert other.interrupt() == {}
    thread.join(PATIENCE)
    assert ended[0][0] == 409
    assert "interrupted" in ended[0][1]
    other.util_wait_for_ready(check_interval=0.05)
    other.session.close()


def test_clients_at_once_get_their_own_pictures(served: tuple[int, Engine]) -> None:
    made: dict[int, tuple[int, bytes]] = {}

    def ask(seed: int) -> None:
        api = webuiapi.WebUIApi(port=served[0], username="x", password=TOKEN, sampler="DDIM", steps=2)
        result = api.txt2img(prompt="a lake", seed=seed, width=64, height=64)
        made[seed] = result.info["seed"], result.image.tobytes()
        api.session.close()

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert {seed: told for seed, (told, _) in made.items()} == {0: 0, 1: 1, 2: 2}
    assert len({picture for _, picture in made.values()}) == 3


def test_a_client_that_hangs_up_cancels_its_job(served: tuple[int, Engine]) -> None:
    body = {"prompt": "a lake", "steps": 400, "width": SIDE, "height": SIDE, "sampler_name": "DDIM", "seed": 77}
    url, engine = f"http://127.0.0.1:{served[0]}/sdapi/v1/txt2img", served[1]
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json=body, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=0.5)
    until(lambda: [job for job in engine.jobs() if engine.request(job.id).seed == 77])
    (mine,) = [job for job in engine.jobs() if engine.request(job.id).seed == 77]
    until(lambda: engine.job(mine.id).over)
    assert engine.job(mine.id).state == "cancelled"


def test_a_full_queue_is_told_to_come_again(served: tuple[int, Engine], client: openai.OpenAI) -> None:
    engine, jobs = served[1], list[Job]()

    def fill() -> None:
        while len(jobs) < 20:
            jobs.append(engine.submit(Request(prompt="a lake", steps=400, scheduler="ddim")))

    try:
        with pytest.raises(Full):
            fill()
        with pytest.raises(openai.RateLimitError) as error:
            client.images.generate(prompt="a lake")
        assert int(error.value.response.headers["retry-after"]) > 0
    finally:
        for job in jobs:
            engine.cancel(job.id)


def test_forms_that_are_none_are_refused(served: tuple[int, Engine]) -> None:
    url, headers = f"http://127.0.0.1:{served[0]}/v1/images/edits", {"Authorization": f"Bearer {TOKEN}"}
    broken = b"--x\r\nContent-Disposition: form-data; name=a\r\n"
    bodies: list[tuple[bytes, str]] = [
        (b"{}", "application/json"), (b"", "multipart/form-data"), (b"garbage", "multipart/form-data; boundary=x"),
        (broken, "multipart/form-data; boundary=x"), (b"a=1", "application/x-www-form-urlencoded"),
    ]  # fmt: skip
    for body, kind in bodies:
        answer = httpx.post(url, content=body, headers={**headers, "Content-Type": kind})
        assert answer.status_code == 400, (kind, answer.text)
        assert answer.json()["error"]["message"]
    files = [("image", ("a.png", b"x")), ("image", ("b.png", b"y"))]
    answer = httpx.post(url, files=files, data={"prompt": "a"}, headers=headers)
    assert "several" in answer.json()["detail"]


def test_openai_generates_with_controls(client: openai.OpenAI, tmp_path: Path) -> None:
    buffer = BytesIO()
    painting().save(buffer, format="PNG")
    unit = {"kind": "seg", "image": base64.b64encode(buffer.getvalue()).decode(), "hint": "exact", "scale": 0.9}
    made = client.images.generate(
        prompt="a lake", n=2, size="128x128", quality="low", extra_body={"controls": [unit], "seed": 5, "steps": 4}
    )
    assert made.data is not None
    assert len(made.data) == 2
    assert made.size == "128x128"
    path = tmp_path / "made.png"
    path.write_bytes(base64.b64decode(made.data[0].b64_json or ""))
    recipe = read_recipe(path)
    assert (recipe.seed, recipe.steps, recipe.units[0].scale) == (5, 4, 0.9)
    told = made.to_dict()["hackamore"]
    assert isinstance(told, dict)
    assert told["units"][0]["control"] == "meadow/seg"


def test_openai_gives_an_address_of_this_server(client: openai.OpenAI) -> None:
    made = client.images.generate(
        prompt="a lake", size="128x128", response_format="url", model="meadow", extra_body={"steps": 2}
    )
    assert made.data is not None
    answer = httpx.get(made.data[0].url or "", headers={"Authorization": f"Bearer {TOKEN}"})
    assert Image.open(BytesIO(answer.content)).size == (128, 128)
    assert httpx.get(made.data[0].url or "").status_code == 401


def test_openai_edits_what_the_mask_leaves_transparent(client: openai.OpenAI) -> None:
    holed = photo().convert("RGBA")
    holed.putalpha(Image.eval(hole(), lambda value: 255 - value))
    files = []
    for one in (photo(), holed):
        buffer = BytesIO()
        one.save(buffer, format="PNG")
        files.append(buffer.getvalue())
    made = client.images.edit(image=files[0], mask=files[1], prompt="water", extra_body={"steps": 3, "seed": 1})
    assert made.data is not None
    picture = np.asarray(Image.open(BytesIO(base64.b64decode(made.data[0].b64_json or ""))).convert("RGB"))
    white, before = np.asarray(hole()) > 0, np.asarray(photo())
    assert (picture[~white] == before[~white]).all()
    assert (picture[white] != before[white]).any()
    controls = json.dumps([{"kind": "canny", "image": base64.b64encode(files[0]).decode()}])
    made = client.images.edit(
        image=[files[0]],
        prompt="water",
        output_format="jpeg",
        extra_body={"steps": 3, "strength": 0.5, "controls": controls},
    )
    assert made.data is not None
    assert Image.open(BytesIO(base64.b64decode(made.data[0].b64_json or ""))).format == "JPEG"
    with pytest.deprecated_call():  # by the client itself
        varied = client.images.create_variation(image=files[0], extra_body={"steps": 3, "strength": 0.5})
    assert varied.data is not None
    assert varied.data[0].b64_json


def test_openai_raises_its_own_errors(client: openai.OpenAI, served: tuple[int, Engine]) -> None:
    wrongs: list[dict[str, Any]] = [
        {"model": "dall-e-3"}, {"style": "vivid"}, {"background": "transparent"}, {"size": "huge"}, {"n": 99},
        {"size": "100x100"}, {"extra_body": {"controls": [{"kind": "depth"}]}}, {"extra_body": {"no_such": 1}},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(openai.BadRequestError) as error:
            client.images.generate(prompt="a lake", **wrong)
        assert error.value.type == "invalid_request_error"
        assert isinstance(error.value.body, dict)
        assert error.value.body["message"]
    with pytest.raises(openai.BadRequestError) as error:
        client.images.generate(prompt="a lake", n=99)
    assert error.value.param == "n"
    with pytest.raises(openai.BadRequestError, match="the image cannot be read"):
        client.images.edit(image=b"no picture", prompt="water")
    stranger = openai.OpenAI(base_url=f"http://127.0.0.1:{served[0]}/v1", api_key="wrong-wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.images.generate(prompt="a lake")
    assert "meadow" in [one.id for one in client.models.list()]
