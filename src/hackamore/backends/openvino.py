"""OpenVINO: networks as graphs compiled for the CPU, kept on disk for the next start."""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Hashable, Sequence
from functools import cache, cached_property
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from hackamore.backends.nested import form_of, put_back, tensors_of
from hackamore.backends.resting import let_rest
from hackamore.core.errors import HackamoreError
from hackamore.core.files import written_whole
from hackamore.core.residuals import Residuals, Rule

ALONE = "made/alone"
"""The name of an output that is the only one."""
SEVERAL = "several/"
"""How the names of several tensors begin."""
Made = Tensor | tuple[Tensor, ...] | Residuals
"""What a function may give."""
TYPES = (torch.float32, torch.int64)
SITES = ("encoder", "skips", "blocks", "singles")
MOST_KINDS = 10_000
MOST_KEPT = 16 << 30
"""Bytes of compiled graphs that are kept on disk; the longest unused go beyond it."""


@cache
def _core() -> Any:
    """OpenVINO itself, which takes a third of a second to begin: only where something is run by it.

    One for the process, to its end: each sets a signal stack and puts back the one it found, so that two that end in
    the order of their beginning leave one that is gone, and the next Ctrl-C is a segmentation fault.
    """
    import openvino

    return openvino.Core()


class Graph:
    """A compiled graph. Calls from several threads wait for each other. ``kept``: what its weights are read from."""

    def __init__(self, compiled: Any, kept: Any = None) -> None:
        self._compiled, self._request, self._kept = compiled, compiled.create_infer_request(), kept
        self._names = [_ours(output.get_names()) for output in compiled.outputs]
        self._lock = threading.Lock()

    def __call__(self, tensors: Sequence[Tensor]) -> Made:
        """Run it on tensors in the order in which it was traced."""
        with self._lock:
            made = self._request.infer([tensor.numpy() for tensor in tensors], share_inputs=True)
        return _unnamed({name: torch.from_numpy(made[place]) for place, name in enumerate(self._names)})


class OpenVINO:
    """Compiles a function of a network once for each form of its arguments (shapes and types), and runs that.

    ``precision``: ``f32``, equal to PyTorch to rounding, or ``bf16`` where the processor has it. ``folder``: where
    compiled graphs are kept; None keeps none. What a graph was made of (weights, form, versions, processor) names its
    file, so that a changed network is never answered by an old one. ``least``: the smallest work that is worth its
    start (:meth:`worth`); ``often``: of all pictures of a kind together, as for a server, not of one.
    """

    def __init__(
        self, folder: Path | None = None, precision: str = "f32", least: int = 0, *, often: bool = False
    ) -> None:
        self.folder, self.precision, self.least, self.often = folder, precision, least, often
        self._work: dict[Hashable, int] = {}
        self.name = f"openvino {version('openvino').split('-')[0]}" + ("" if precision == "f32" else f" {precision}")
        self._lock = threading.RLock()
        self._graphs: WeakKeyDictionary[nn.Module, dict[tuple[object, int], Graph]] = WeakKeyDictionary()
        self._watches: WeakKeyDictionary[nn.Module, Watch] = WeakKeyDictionary()
        self._hashes: WeakKeyDictionary[nn.Module, tuple[int, str]] = WeakKeyDictionary()

    def worth(self, kind: Hashable, work: int) -> bool:
        """Whether a picture is so much work; of a server, whether pictures of its kind have been, together with it."""
        if not self.often:
            return work >= self.least
        with self._lock:
            if kind not in self._work and len(self._work) >= MOST_KINDS:
                self._work.clear()
            self._work[kind] = self._work.get(kind, 0) + work
            return self._work[kind] >= self.least

    def coarse(self) -> OpenVINO:
        """The same in bf16, where the processor has it; its graphs are its own."""
        if self.precision == "bf16" or "BF16" not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return self
        return self._coarse

    @cached_property
    def _coarse(self) -> OpenVINO:
        return OpenVINO(self.folder, "bf16", self.least, often=self.often)

    def __deepcopy__(self, memo: dict[int, Any]) -> OpenVINO:
        """Itself: copies of a base share it."""
        return self

    def run(self, network: nn.Module, function: Callable[..., Any], *arguments: Any) -> Any:
        """What ``function(*arguments)`` gives; the first time with arguments of this form it is compiled.

        A network in training, and tensors that are not whole or fp32 numbers, are PyTorch's.
        """
        tensors = tensors_of(arguments)
        if network.training or any(tensor.dtype not in TYPES for tensor in tensors):
            return function(*arguments)
        form = (function.__name__, form_of(arguments), torch.get_num_threads())
        with self._lock:
            key = (form, self._changes(network))
            graphs = self._graphs.setdefault(network, {})
            if key not in graphs:
                for old in [one for one in graphs if one[1] != key[1]]:
                    del graphs[old]
                graphs[key] = self._made(network, function, arguments, form)
        return graphs[key](tensors)

    def _made(self, network: nn.Module, function: Callable[..., Any], arguments: Any, form: object) -> Graph:
        """The graph from the disk, or a new one, kept there."""
        told = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        if self.folder is None:
            return Graph(_compiled(_core(), network, function, arguments, told))
        import numpy as np
        import openvino

        file = self.folder / f"{self._name(network, form)}.graph"
        held = [one.data_ptr() for one in (*network.parameters(), *network.buffers())]
        let_rest(held)  # all weights were read for the name
        try:
            kept = np.memmap(file, dtype=np.uint8, mode="c")
            held.append(kept.ctypes.data)
            found = _core().import_model(openvino.Tensor(kept, shared_memory=True), "CPU", told)
            os.utime(file)
            return Graph(found, kept)
        except (RuntimeError, OSError, ValueError):  # not there, damaged, or of another build of it: made anew
            compiled = _compiled(_core(), network, function, arguments, told)
            let_rest(held)
            _keep(file, compiled.export_model())
            return Graph(compiled)
        finally:
            let_rest(held)

    def _changes(self, network: nn.Module) -> int:
        """Another number once anything of the network is another."""
        if network not in self._watches:
            self._watches[network] = Watch(network)
        return self._watches[network]()

    def _name(self, network: nn.Module, form: object) -> str:
        machine = _core().get_property("CPU", "FULL_DEVICE_NAME")
        versions = torch.__version__, version("diffusers"), _sources()
        told = self._sha256(network), form, self.name, machine, *versions
        return hashlib.sha256(repr(told).encode()).hexdigest()[:32]

    def _sha256(self, network: nn.Module) -> str:
        """Of all weights, and of what else is set on the modules; read once, until a weight changes."""
        changes = self._changes(network)
        if network not in self._hashes or self._hashes[network][0] != changes:
            digest = hashlib.sha256()
            for name, module in network.named_modules():
                plain = sorted((key, _told(value)) for key, value in vars(module).items() if _is_plain(value))
                digest.update(repr((name, type(module).__qualname__, plain)).encode())
            for name, tensor in network.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.detach().contiguous().view(torch.uint8).numpy().data)
            self._hashes[network] = changes, digest.hexdigest()
        return self._hashes[network][1]


class _Traceable(nn.Module):
    """A function of nested arguments as a module of plain tensors: what can be traced."""

    def __init__(self, network: nn.Module, function: Callable[..., Any], arguments: Any) -> None:
        super().__init__()
        self.network = network
        self._told = function, arguments

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        function, arguments = self._told
        named = _named(function(*put_back(arguments, iter(tensors))))
        self.names = list(named)
        return tuple(named.values())


def _compiled(core: Any, network: nn.Module, function: Callable[..., Any], arguments: Any, told: Any) -> Any:
    """The function, compiled for tensors of these very shapes."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    tensors = tensors_of(arguments)
    module = _Traceable(network, function, arguments).eval()
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        plain = tuple(tensor.clone() for tensor in tensors)
        decoder = TorchScriptPythonDecoder(module, example_input=plain, trace_kwargs={"check_trace": False})
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    for output, name in zip(model.outputs, module.names, strict=True):
        output.get_tensor().set_names({name})
    model.reshape({place: list(tensor.shape) for place, tensor in enumerate(tensors)})
    return core.compile_model(model, "CPU", told)  # while the decoder, whose constants it reads, is alive


def _named(made: Made) -> dict[str, Tensor]:
    """What a function gave, each tensor by a name that tells where it belongs: ``share/skips/0``."""
    if isinstance(made, Tensor):
        return {ALONE: made}
    if isinstance(made, tuple):
        return {f"{SEVERAL}{place}": tensor for place, tensor in enumerate(made)}
    told = {site: getattr(made, site) for site in SITES} | {"mid": () if made.mid is None else (made.mid,)}
    return {f"{made.rule}/{site}/{place}": x for site, some in told.items() for place, x in enumerate(some)}


def _ours(names: set[str]) -> str:
    """The name that :func:`_named` gave, among those of the compiler."""
    return next(name for name in names if "/" in name)


def _unnamed(named: dict[str, Tensor]) -> Made:
    """The same back from the names."""
    if ALONE in named:
        return named[ALONE]
    if f"{SEVERAL}0" in named:
        return tuple(named[f"{SEVERAL}{place}"] for place in range(len(named)))
    told: dict[str, list[Tensor]] = {}
    for name, tensor in named.items():
        rule, site, _ = name.split("/")
        told.setdefault(site, []).append(tensor)
    mid = told.pop("mid", [None])[0]
    return Residuals(mid=mid, rule=cast(Rule, rule), **{site: tuple(some) for site, some in told.items()})


@cache
def _sources() -> str:
    """A hash of our own code, which says what a graph computes as much as the weights do."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _told(value: Any) -> str:
    """A plain value as words, the same in each process: diffusers lists which settings were left out in no order."""
    if isinstance(value, dict):
        value = sorted((repr(key), _told(part)) for key, part in value.items() if key != "_use_default_values")
    return repr(value)


def _is_plain(value: Any) -> bool:
    """Whether a value is made of numbers and words alone, so that it says all by itself."""
    if isinstance(value, dict):
        return all(_is_plain(part) for part in (*value, *value.values()))
    if isinstance(value, (tuple, list)):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, (bool, int, float, str))


class Watch:
    """Tells in a tenth of a millisecond whether anything of a network was changed, exchanged or moved."""

    def __init__(self, network: nn.Module) -> None:
        self._root = weakref.ref(network)
        self._tables: list[dict[str, Any]] = []
        self._seen = -1

    def __call__(self) -> int:
        """Another number once a weight was changed in place, exchanged or moved, or a module exchanged."""
        found = self._number()
        if found != self._seen:  # other modules may have come in
            network = self._root()
            modules = [] if network is None else list(network.modules())
            self._tables = [t for one in modules for t in (one._modules, one._parameters, one._buffers) if t]
            self._seen = self._number()
        return self._seen

    def _number(self) -> int:
        told: list[Any] = []
        for table in self._tables:
            for one in table.values():
                if isinstance(one, Tensor):
                    told += (one.data_ptr(), 0 if one.is_inference() else one._version)
                else:
                    told.append(id(one))
        return hash(tuple(told))


def _keep(file: Path, stream: BytesIO) -> None:
    """Write a graph, whole or not at all; the longest unused make room for it."""
    try:
        with written_whole(file) as path:
            path.write_bytes(stream.getbuffer())
        kept = sorted(file.parent.glob("*.graph"), key=lambda one: one.stat().st_mtime, reverse=True)
        room = MOST_KEPT
        for one in kept:
            room -= one.stat().st_size
            if room < 0 and one != file:
                one.unlink(missing_ok=True)
    except (OSError, HackamoreError):  # a full disk, or another process was quicker: it is only kept for speed
        return
