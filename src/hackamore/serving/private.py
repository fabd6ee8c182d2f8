"""What only the operator knows: where bases, controls and jobs lie."""

from __future__ import annotations

from collections.abc import Callable

from hackamore.serving.job import Failure
from hackamore.serving.settings import ServeSettings

HIDDEN = "(the server's own path)"


def without_paths(text: str, settings: ServeSettings) -> str:
    """``text`` without the operator's own paths; a path that is also a name on offer is no secret."""
    offers = (*settings.bases, *settings.controls)
    names = {offer.name for offer in offers}
    told = [str(settings.folder.absolute()), *(offer.path for offer in offers)]
    for path in told:
        if "/" in path.strip("/") and path not in names:
            text = text.replace(path, HIDDEN)
    return text


def telling(settings: ServeSettings) -> Callable[[Failure], Failure]:
    """From a failure to what clients are told of it: the same, without paths."""

    def told(failure: Failure) -> Failure:
        words = failure.model_dump(include={"what", "received", "expected", "remedy"}, exclude_none=True)
        return failure.model_copy(update={name: without_paths(text, settings) for name, text in words.items()})

    return told
