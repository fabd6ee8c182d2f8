"""Finished pictures as a worker gives them: PNGs with their Recipes, hints, and what was applied to each."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from hackamore.core.errors import HackamoreError
from hackamore.core.image import png
from hackamore.core.recipe import UnitRecipe
from hackamore.generate.result import Image, Result
from hackamore.serving.job import PictureReport, UnitReport
from hackamore.serving.units import Ready
from hackamore.serving.worker import Made


def made_of(result: Result, units: Sequence[Ready], verified: bool) -> Made:
    """The pictures of a result and everything that is told about them; ``verified``: their control fidelity too."""
    notices = list(result.notices)
    if verified and units:
        result, said = _verified(result, units)
        notices += said
    notices += [notice for one in units for notice in one.notices]
    files = [image.png() for image in result.images]
    return Made(
        pictures=tuple(files),
        reports=tuple(_report(k, *pair, units) for k, pair in enumerate(zip(result.images, files, strict=True))),
        hints=tuple(png(one.hinted.picture) for one in units),
        notices=tuple(dict.fromkeys(notices)),
    )


def _verified(result: Result, units: Sequence[Ready]) -> tuple[Result, list[str]]:
    """The result with control-fidelity figures; where they cannot be read, why, and the pictures all the same."""
    from hackamore.evaluation.verify import Judge, verify

    parameters, people = [one.parameters for one in units], [one.hinted.people for one in units]
    try:
        judge = Judge([one.unit for one in units], parameters, people)
        return verify(result, judge), list(judge.notices)
    except HackamoreError as error:
        return result, [f"the control fidelity cannot be read: {error.what}"]


def _report(index: int, image: Image, file: bytes, units: Sequence[Ready]) -> PictureReport:
    height, width = image.pixels.shape[:2]
    told = zip(image.recipe.units, units, strict=True)
    return PictureReport(
        index=index,
        seed=image.recipe.seed,
        width=width,
        height=height,
        sha256=hashlib.sha256(file).hexdigest(),
        units=tuple(_unit(unit, one) for unit, one in told),
    )


def _unit(recipe: UnitRecipe, unit: Ready) -> UnitReport:
    """The unit as it was applied; the control by the name that clients know."""
    return UnitReport(
        control=unit.name,
        kind=recipe.kind,
        scale=recipe.scale,
        start=recipe.start,
        end=recipe.end,
        schedule=recipe.schedule,
        mode=recipe.mode,
        masked=recipe.mask is not None,
        hint_sha256=hashlib.sha256(base64.b64decode(recipe.hint)).hexdigest(),
        sha256=recipe.sha256,
        fidelity=recipe.fidelity,
    )
