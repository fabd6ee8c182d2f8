"""Key points of people that lie beside training pictures."""

from __future__ import annotations

import json

from hackamore.core.errors import HackamoreError
from hackamore.core.skeleton import People, from_openpose
from hackamore.data.sources.item import Blob


def people_of(blob: Blob) -> People:
    """The people of the first picture in OpenPose JSON, in the pixels of its canvas."""
    try:
        pictures = from_openpose(json.loads(blob.read()))
    except (ValueError, RecursionError) as error:
        raise HackamoreError(f"{blob.name} is not JSON", received=str(error), expected="OpenPose key points") from error
    except HackamoreError as error:
        raise HackamoreError(f"{blob.name}: {error.what}", received=error.received, expected=error.expected) from error
    if not pictures:
        raise HackamoreError(f"{blob.name} holds no picture", expected="OpenPose key points of at least one picture")
    return pictures[0]
