"""The text of generation parameters is read back, in bounded time."""

from __future__ import annotations

import time

from hackamore.serving.http.a1111_names import kind_told
from hackamore.serving.http.infotext import read_infotext


def test_long_texts_are_read_in_bounded_time() -> None:
    for text in ("Steps: " + "a b " * 50_000, "Steps: 1, " + 'a: "' * 50_000, " [" * 50_000):
        read_infotext(text)
        kind_told(text)


def test_infotexts_are_read_back() -> None:
    text = 'a lake\nat dawn\nNegative prompt: snow\nSteps: 4, Sampler: euler, ControlNet 0: "Module: canny, Weight: 1"'
    told = read_infotext(text)
    assert told["Prompt"] == "a lake\nat dawn"
    assert told["Negative prompt"] == "snow"
    assert told["Steps"] == "4"
    assert told["ControlNet 0"] == "Module: canny, Weight: 1"
    assert read_infotext("") == {}


def test_a_hostile_infotext_is_read_at_once() -> None:
    began = time.process_time()
    for part in ("a:", 'a:"', "aa a" * 15 + ":", 'a:"\\",'):
        read_infotext("Steps: 1," + part * (39_000 // len(part)))
    assert time.process_time() - began < 0.5
    text = 'a lake\nSteps: 20, ControlNet 0: "Module: canny, Model: \\"x\\", Weight: 1", Size: 64x64'
    told = read_infotext(text)
    assert (told["Size"], told["Steps"], told["ControlNet 0"][:13]) == ("64x64", "20", "Module: canny")
