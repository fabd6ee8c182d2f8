"""Layered pictures: a finished picture, what steered it and what it began from, as OpenRaster."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from PIL import Image

from hackamore.core.image import Picture, load_picture, png
from hackamore.core.recipe import Recipe, extract, read_recipe

THUMBNAIL = 256
"""The longest side, as the specification has it."""


def layered(path: Path) -> bytes:
    """The OpenRaster file of a PNG that holds its Recipe.

    The picture is the uppermost layer, below it lie the hints of its controls and the picture that was begun from,
    hidden, so that the whole looks like the picture. Raises :class:`HackamoreError` where there is no Recipe.
    """
    recipe = read_recipe(path)
    return open_raster(load_picture(path), below(recipe))


def below(recipe: Recipe) -> list[tuple[str, Picture]]:
    """Names and pictures of the layers under a finished picture, from the top."""
    units = recipe.units if recipe.upscale is None else recipe.upscale.units
    layers = [(f"{unit.kind or 'hint'} ({unit.control})", extract(unit.hint)) for unit in units]
    begun = [("start picture", recipe.init), ("mask", recipe.mask)]
    return [*layers, *((name, extract(picture)) for name, picture in begun if picture is not None)]


def open_raster(picture: Picture, under: list[tuple[str, Picture]]) -> bytes:
    """An OpenRaster file (version 0.0.5) of a visible ``picture`` and hidden layers under it, from the top."""
    height, width = picture.shape[:2]
    image = ElementTree.Element("image", version="0.0.5", w=str(width), h=str(height))
    stack = ElementTree.SubElement(image, "stack")
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:  # pictures are compressed already
        archive.writestr("mimetype", "image/openraster")  # first and not compressed, so that it is found by its place
        for number, (name, layer) in enumerate([("picture", picture), *under]):
            source = f"data/layer{number}.png"
            archive.writestr(source, png(layer))
            shown = "hidden" if number else "visible"
            ElementTree.SubElement(stack, "layer", name=name, src=source, x="0", y="0", opacity="1.0", visibility=shown)
        archive.writestr("mergedimage.png", png(picture))
        archive.writestr("Thumbnails/thumbnail.png", _thumbnail(picture))
        archive.writestr("stack.xml", ElementTree.tostring(image, "utf-8", xml_declaration=True), ZIP_DEFLATED)
    return buffer.getvalue()


def _thumbnail(picture: Picture) -> bytes:
    small = Image.fromarray(picture)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = BytesIO()
    small.save(buffer, format="PNG")
    return buffer.getvalue()
