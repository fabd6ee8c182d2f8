"""The page on controls names every format that the table knows."""

from pathlib import Path

from hackamore.controls.formats.table import FORMATS, NO_CONTROL

PAGE = (Path(__file__).parents[2] / "docs" / "controls.md").read_text(encoding="utf-8")


def test_the_page_names_every_format():
    named = " ".join(PAGE.split())
    for entry in FORMATS:
        if entry.reader is not None:
            assert f"| {entry.name} |" in PAGE
        elif not entry.note.startswith(NO_CONTROL):
            assert entry.name in named
