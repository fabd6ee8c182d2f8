"""A remedy that names a setting can be typed as an option as it stands, and written into a configuration."""

import re
import tomllib
from pathlib import Path

import pytest

import hackamore
from hackamore.core.section import setting
from hackamore.training.config import known_settings, option


@pytest.mark.parametrize(
    ("name", "value"),
    [("run.ema", 0), ("data.flip", False), ("data.captions", "empty"), ("run.lr", 1e-4), ("size.x", [64, 64])],
)
def test_both_ways_set_the_same(name, value):
    told = setting(name, value)
    words, line, section = re.fullmatch(r"--set (\S+(?:, \S+)?) \(or (.+) under \[(\w+)\]\)", told).groups()
    assert option(words) == (name, value)
    own = name.partition(".")[2]
    assert tomllib.loads(f"[{section}]\n{line}") == {name.partition(".")[0]: {own: value}}


def test_every_remedy_names_a_setting_that_there_is():
    known = {name for name, _, _ in known_settings()}
    named = [
        name
        for path in Path(hackamore.__file__).parent.rglob("*.py")
        for name in re.findall(r"""\bsetting\(["']([\w.]+)["']""", path.read_text(encoding="utf-8"))
    ]
    assert len(named) >= 12
    assert set(named) <= known
