"""Pages of mapped files that nobody needs now leave the memory, and nothing that was written is lost."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from hackamore.backends.resting import let_rest

SIZE = 8 << 20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's kernel")


def resident(file):
    """KiB of the file that are in this process's memory."""
    told = Path("/proc/self/smaps").read_text()
    return sum(int(found) for found in re.findall(rf"{re.escape(str(file))}\n(?:.*\n){{3,5}}?Rss: +(\d+) kB", told))


@pytest.fixture
def mapped(tmp_path):
    file = tmp_path / "weights.graph"
    np.arange(SIZE // 8).tofile(file)
    numbers = np.memmap(file, dtype=np.int64, mode="c")
    assert numbers.sum() == np.arange(SIZE // 8).sum()
    assert resident(file) == SIZE >> 10
    return file, numbers


def test_pages_go_and_come_back(mapped):
    file, numbers = mapped
    let_rest([numbers.ctypes.data + 4096], 0)
    assert resident(file) == 0
    assert numbers.sum() == np.arange(SIZE // 8).sum()


def test_a_file_of_which_a_page_was_written_stays_whole(mapped):
    file, numbers = mapped
    numbers[5] = -1
    before = resident(file)
    let_rest([numbers.ctypes.data], 0)
    assert resident(file) == before
    assert numbers[5] == -1


def test_little_is_left_alone(mapped):
    file, numbers = mapped
    let_rest([numbers.ctypes.data], 1 << 60)
    assert resident(file) == SIZE >> 10


def test_what_is_not_told_is_left_alone(mapped):
    file, numbers = mapped
    let_rest([numbers.ctypes.data - 1, numbers.ctypes.data + SIZE], 0)
    assert resident(file) == SIZE >> 10
