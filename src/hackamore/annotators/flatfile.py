"""Reading TensorFlow Lite's files: FlatBuffers tables, graphs of operators, and weights stored sparsely.

Field and operator numbers are those of TensorFlow Lite's published schema.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

TENSOR_KINDS: dict[int, type[np.generic]] = {0: np.float32, 1: np.float16, 2: np.int32}
INDEX_KINDS: dict[int, type[np.generic]] = {1: np.int32, 2: np.uint16, 3: np.uint8}
"""The three widths in which the places of sparse weights are stored."""


@dataclass(frozen=True)
class Operator:
    """One step of a graph: its operator's number, its tensors, and where its options stand in the file."""

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: int


@dataclass(frozen=True)
class Graph:
    """A network as its file tells it; tensors go by their numbers, and constants are in full."""

    file: FlatFile
    operators: tuple[Operator, ...]
    constants: dict[int, Array]
    names: dict[str, int]
    input: int
    side: int
    """Height and width of the one picture it takes."""


class FlatFile:
    """A FlatBuffers file: tables by their position, fields by their number."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def at(self, position: int) -> int:
        """Where the offset that stands at ``position`` leads."""
        return position + int(struct.unpack_from("<I", self._data, position)[0])

    def number(self, table: int, field: int, form: str = "<i", default: int = 0) -> int:
        """A whole number; ``form`` is its width as :mod:`struct` writes it."""
        position = self._field(table, field)
        return int(struct.unpack_from(form, self._data, position)[0]) if position else default

    def follow(self, table: int, field: int) -> int:
        """The position of a table's sub-table, list or text; 0 where it is left out."""
        position = self._field(table, field)
        return self.at(position) if position else 0

    def vector(self, table: int, field: int, kind: type[np.generic] = np.int32) -> Array:
        """A list of numbers; an empty one where it is left out."""
        start = self.follow(table, field)
        count = struct.unpack_from("<I", self._data, start)[0] if start else 0
        return np.frombuffer(self._data, kind, count, start + 4 if count else 0)

    def tables(self, table: int, field: int) -> list[int]:
        """A list of sub-tables, by their positions."""
        start = self.follow(table, field)
        count = struct.unpack_from("<I", self._data, start)[0] if start else 0
        return [self.at(start + 4 + 4 * number) for number in range(count)]

    def _field(self, table: int, field: int) -> int:
        layout = table - struct.unpack_from("<i", self._data, table)[0]
        if 4 + 2 * field >= struct.unpack_from("<H", self._data, layout)[0]:
            return 0
        offset = struct.unpack_from("<H", self._data, layout + 4 + 2 * field)[0]
        return table + offset if offset else 0


def read_graph(data: bytes) -> Graph:
    """The first graph of a TensorFlow Lite file; raises ValueError, KeyError or struct.error where it is none."""
    if data[4:8] != b"TFL3":
        raise ValueError("not a TensorFlow Lite file")
    file = FlatFile(data)
    model = file.at(0)
    codes = [max(file.number(code, 3), file.number(code, 0, "<b")) for code in file.tables(model, 1)]
    buffers = file.tables(model, 4)
    graph = file.tables(model, 2)[0]
    tensors = file.tables(graph, 0)
    constants = {}
    for number, tensor in enumerate(tensors):
        buffer = buffers[file.number(tensor, 2, "<I")]
        if file.follow(buffer, 0):
            constants[number] = _constant(file, tensor, buffer)
    operators = tuple(
        Operator(
            codes[file.number(op, 0, "<I")],
            tuple(int(tensor) for tensor in file.vector(op, 1)),
            tuple(int(tensor) for tensor in file.vector(op, 2)),
            file.follow(op, 4),
        )
        for op in file.tables(graph, 3)
    )
    names = {file.vector(tensor, 3, np.uint8).tobytes().decode(): number for number, tensor in enumerate(tensors)}
    (entry,) = (int(tensor) for tensor in file.vector(graph, 1))
    return Graph(file, operators, constants, names, entry, int(file.vector(tensors[entry], 0)[1]))


def _constant(file: FlatFile, tensor: int, buffer: int) -> Array:
    shape = tuple(int(side) for side in file.vector(tensor, 0))
    values = file.vector(buffer, 0, np.uint8).view(TENSOR_KINDS[file.number(tensor, 1, "<b")])
    sparsity = file.follow(tensor, 6)
    if not sparsity:
        return values.reshape(shape)
    place = _places(file, sparsity, len(shape))
    full = np.zeros(shape, values.dtype)
    full[tuple(place.T)] = values[: len(place)]
    return full


def _places(file: FlatFile, sparsity: int, dimensions: int) -> NDArray[np.int64]:
    """Where each stored weight of a sparse constant belongs, N×dimensions.

    Sparse weights are a tree: one level a dimension, each level either complete or a list of the branches that are
    there, as in compressed sparse rows. It is walked level by level.
    """
    order = [int(dimension) for dimension in file.vector(sparsity, 0)]
    if sorted(order) != list(range(dimensions)):
        raise ValueError("sparse weights in blocks")  # none of the networks named here has them
    paths = np.zeros((1, 0), np.int64)
    for level in file.tables(sparsity, 2):
        if file.number(level, 0, "<b"):
            ends = _indices(file, level, 2).astype(np.int64)
            counts = ends[1:] - ends[:-1]
            branch = _indices(file, level, 4).astype(np.int64)
        else:
            counts = np.full(len(paths), file.number(level, 1))
            branch = np.tile(np.arange(file.number(level, 1)), len(paths))
        paths = np.concatenate([np.repeat(paths, counts, axis=0), branch[:, None]], axis=1)
    return paths[:, np.argsort(order)]


def _indices(file: FlatFile, level: int, field: int) -> Array:
    kind = INDEX_KINDS[file.number(level, field, "<B")]
    return file.vector(file.follow(level, field + 1), 0, kind)
