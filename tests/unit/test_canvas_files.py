import asyncio
import json
import re

import numpy as np
import pytest

from hackamore.serving.canvas.files import STATIC, page_files
from hackamore.serving.canvas.gate import Gate
from hackamore.worlds import captions
from hackamore.worlds.land import SEASONS


def test_the_files_of_the_page_are_those_that_the_package_ships():
    files = page_files()
    assert {"app.js", "style.css", "i18n/ko.json", "tabs/paint.js"} <= set(files)
    assert files["app.js"].content == (STATIC / "app.js").read_bytes()
    assert len({file.tag for file in files.values()}) == len({file.content for file in files.values()})


def test_only_kinds_that_a_page_needs_are_sent(tmp_path):
    for name in ("a.js", "b.py", "c.env"):
        (tmp_path / name).write_text("x")
    assert set(page_files(tmp_path)) == {"a.js"}


@pytest.mark.parametrize("part", sorted(path.name.removeprefix("en.") for path in (STATIC / "i18n").glob("en*.json")))
def test_both_languages_say_the_same_things(part):
    english, korean = (json.loads((STATIC / "i18n" / f"{name}.{part}").read_text()) for name in ("en", "ko"))
    assert english.keys() == korean.keys()
    for name, words in english.items():
        assert sorted(re.findall(r"\{\w+\}", words)) == sorted(re.findall(r"\{\w+\}", korean[name])), name
        assert bool(words.strip()) == bool(korean[name].strip()), name


def test_every_word_that_the_frame_asks_for_is_there():
    words = set().union(*(json.loads(path.read_text()) for path in (STATIC / "i18n").glob("en*.json")))
    asked = {
        (path.name, name)
        for path in STATIC.rglob("*.js")
        for name in re.findall(r"""\bt\("([a-z]+\.[a-z.]+)"[,)]""", path.read_text())
    }
    assert asked
    assert {one for one in asked if one[1] not in words} == set()


def test_chips_say_what_captions_say():
    chips = json.loads((STATIC / "chips.json").read_text())
    assert {name: tuple(words) for name, words in chips["time"].items()} == captions.TIMES
    assert tuple(chips["season"]) == SEASONS
    said = {
        words
        for seed in range(60)
        for facts in WEATHERS
        if (words := captions._weather(np.random.default_rng(seed), facts))
    }
    assert said == {words for phrases in chips["weather"].values() for words in phrases}


WEATHERS = [
    {"precipitation": rain, "weather": weather, "clouds": clouds}
    for rain in ("none", "rain", "snowfall")
    for weather in ("clear", "cloudy", "overcast", "foggy")
    for clouds in ("yes", "no")
]


@pytest.mark.parametrize(
    ("method", "path", "through"),
    [
        ("GET", "/", True),
        ("HEAD", "/", True),
        ("GET", "/assets/index.js", True),
        ("GET", "/gradio_api/heartbeat/abc", True),
        ("POST", "/", False),
        ("GET", "/gradio_api/file=/etc/passwd", False),
        ("GET", "/assets/../config", False),
        ("POST", "/gradio_api/upload", False),
        ("GET", "/login", False),
    ],
)
def test_the_gate_lets_reads_of_the_page_through_and_nothing_else(method, path, through):
    reached, sent = [], []

    async def inner(scope, receive, send):
        reached.append(scope["path"])

    async def send(message):
        sent.append(message)

    asyncio.run(Gate(inner)({"type": "http", "method": method, "path": path}, None, send))
    assert bool(reached) is through
    assert through or sent[0]["status"] == 404
