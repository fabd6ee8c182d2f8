"""Writing ``.safetensors`` files whose bytes depend on their content alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from hackamore.core.files import written_whole

HASH = "modelspec.hash_sha256"
"""Where ModelSpec keeps the SHA-256 of all bytes behind the header, as 0x and 64 digits."""
_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def write_safetensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str], dtype: torch.dtype | None = None
) -> None:
    """Write ``tensors`` with ``metadata`` and the hash of their bytes in the header, whole or not at all.

    The same content gives the same bytes, which the safetensors library does not promise for metadata. ``dtype``:
    what floating-point tensors are turned into, one at a time.
    """
    kinds = {key: dtype if dtype and value.is_floating_point() else value.dtype for key, value in tensors.items()}
    order = sorted(tensors, key=lambda key: (-kinds[key].itemsize, key))  # so that each lies aligned
    header, place = {}, 0
    for key in order:
        end = place + tensors[key].numel() * kinds[key].itemsize
        header[key] = {"dtype": _NAMES[kinds[key]], "shape": list(tensors[key].shape), "data_offsets": [place, end]}
        place = end
    digest = hashlib.sha256()
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(_header(header, {**metadata, HASH: "0x" + "0" * 64}))
        for key in order:
            data = tensors[key].detach().to("cpu", kinds[key]).reshape(-1).view(torch.uint8).numpy().data
            digest.update(data)
            file.write(data)
        file.seek(0)
        file.write(_header(header, {**metadata, HASH: f"0x{digest.hexdigest()}"}))


def _header(tensors: Mapping[str, object], metadata: Mapping[str, str]) -> bytes:
    """The header's length in 8 bytes, then the header, padded so that what follows lies at a multiple of 8."""
    told = json.dumps({"__metadata__": dict(sorted(metadata.items())), **tensors}, separators=(",", ":"))
    data = told.encode()
    data += b" " * (-len(data) % 8)
    return len(data).to_bytes(8, "little") + data
