"""Several generations with prompts, seeds and units of their own, sampled as one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from hackamore.bases.base import Base
from hackamore.generate.result import Result
from hackamore.generate.run import begun, usual_batch
from hackamore.generate.sharing import Generation, Share, sample_together


@torch.inference_mode()
def generate_together(
    base: Base, asked: Sequence[Mapping[str, Any]], *, batch: int | None = None
) -> list[Result | Exception]:
    """What :func:`generate` gives for each of the keywords in ``asked``, ``prompt`` among them; or what it raises.

    Up to ``batch`` pictures (1 on a CPU, 8 elsewhere) are sampled as one batch: generations of the same size, steps,
    scheduler and strength, whose texts have the same length. Prompts, seeds, guidance (also none), start pictures,
    masks and units may differ: each picture hears its own units alone, and a control that several use is run once.
    Those with controls inside the base (LLLite, XS, IP-Adapter, reference …), a second pass or tiles are sampled alone.
    Each equals the one made alone to rounding, 1e-4; one that fails or is cancelled does not harm the others.
    """
    begun_or_not = [_begun(base, one) for one in asked]
    working = [one for one in begun_or_not if isinstance(one, Generation)]
    failed: dict[int, Exception] = {}
    for shares in _batches(working, batch or usual_batch(base)):
        _sample([share for share in shares if id(share.generation) not in failed], failed)
    return [one if isinstance(one, Exception) else failed.get(id(one)) or _result(one) for one in begun_or_not]


def _begun(base: Base, told: Mapping[str, Any]) -> Generation | Exception:
    try:
        return begun(base, **told)
    except Exception as error:  # each of them is given back to whom it belongs
        return error


def _result(generation: Generation) -> Result | Exception:
    try:
        return generation.result()
    except Exception as error:  # as above
        return error


def _batches(generations: Sequence[Generation], batch: int) -> Iterator[list[Share]]:
    """Shares that may be sampled together, at most ``batch`` pictures of them, in the order of the generations."""
    alike: dict[object, list[Generation]] = {}
    for one in generations:
        alike.setdefault(id(one) if one.alike is None else one.alike, []).append(one)
    for group in alike.values():
        taken: list[Share] = []
        for share in (share for one in group for share in one.shares(batch)):
            full = sum(one.count for one in taken) + share.count > batch
            if taken and (full or group[0].alike is None):
                yield taken
                taken = []
            taken.append(share)
        yield taken


def _sample(shares: Sequence[Share], failed: dict[int, Exception]) -> None:
    """Sample ``shares`` together where their texts allow it, and one by one where that fails."""
    lengths: dict[int, list[Share]] = {}
    for share in shares:
        try:
            lengths.setdefault(share.told(0)[0].tokens.shape[1], []).append(share)
        except Exception as error:  # as above
            failed[id(share.generation)] = error
    for group in lengths.values():
        broken = None
        try:
            sample_together(group)
        except Exception as error:  # as above
            broken = error.with_traceback(None)  # which would keep the batch's tensors
        again = [share for share in group if share.stopped is None] if broken else []
        if len(group) == 1 and broken:
            failed[id(group[0].generation)] = broken
        elif len(group) > 1:
            for share in again:
                _sample([share], failed)
        failed |= {id(share.generation): share.stopped for share in group if share.stopped is not None}
