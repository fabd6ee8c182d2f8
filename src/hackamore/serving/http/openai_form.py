"""Forms with files, as OpenAI's clients send pictures; read in memory, never through a file."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from hackamore.core.errors import HackamoreError
from hackamore.serving.pictures import encoded

MOST_PARTS = 64
"""Fields, and files, of a form."""


class InMemory(MultiPartParser):
    """Starlette's parser; what comes is bounded already, so nothing is laid aside on the disk."""

    spool_max_size = 2**40


async def read_form(request: Request, most: int) -> dict[str, Any]:
    """The fields of a form, of at most ``most`` bytes each, its files as base64.

    Raises :class:`HackamoreError` for another kind of body, a broken form, and fields that are there twice.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise HackamoreError("the body is no form", received=kind or None, expected="multipart/form-data")
    parser = InMemory(
        request.headers, request.stream(), max_files=MOST_PARTS, max_fields=MOST_PARTS, max_part_size=most
    )
    try:
        form = await parser.parse()
    except (MultiPartException, LookupError, ValueError) as error:
        reason = getattr(error, "message", None) or str(error)
        raise HackamoreError("the form is broken", received=reason, expected="multipart/form-data") from error
    told: dict[str, Any] = {}
    try:
        for key, value in form.multi_items():
            name = key.removesuffix("[]")
            if name in told and name == "image":
                raise HackamoreError("several images are not combined by this server", expected="one image")
            if name in told:
                raise HackamoreError(f"the form has several fields {name[:100]}", expected="one")
            told[name] = encoded(await value.read()) if isinstance(value, UploadFile) else value
    finally:
        await form.close()
    for name in ("image", "mask"):
        if told.get(name) == "":
            raise HackamoreError(f"{name} is empty", expected="a picture's file")
    return told
