"""One process or many: who has which share, how gradients meet, and how what is sharded is put together again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from hackamore.core.errors import HackamoreError
from hackamore.training.settings import RunSettings

SHARDED = ("adamw", "sgd")
"""Optimisers that work on shards; the others look at whole tensors."""


class Processes:
    """The processes of a run, as ``accelerate launch`` or a plain start made them.

    With accelerate's FSDP configuration, gradients, optimiser states and averages are sharded (FSDP 2), on GPUs and on
    CPUs; the weights are whole only while a step computes. Raises :class:`HackamoreError` for settings that the
    machine or the launch does not allow.
    """

    def __init__(self, run: RunSettings) -> None:
        AcceleratorState._reset_state()  # an earlier run of this process may have had another precision
        _check_launch()
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
        self.rank, self.count = self.accelerator.process_index, self.accelerator.num_processes
        self.main: bool = self.accelerator.is_main_process
        launched = int(os.environ.get("WORLD_SIZE") or 1)
        if launched != self.count:
            raise HackamoreError(
                "the processes of this launch did not find each other",
                received=f"{launched} launched, {self.count} joined",
                remedy="accelerate launch, or torchrun",
            )
        self.device: torch.device = self.accelerator.device
        self.shards = self.count > 1 and _told("ACCELERATE_USE_FSDP")
        if self.shards:
            check_shards(run)
        _check_share(run, self.count)
        self._mesh: Any = None

    def joined(self, task: nn.Module) -> nn.Module:
        """``task`` with the gradients of all processes together, and the weights of the main one."""
        if self.shards:
            self._shard(task)
            return task
        if self.count == 1:
            return task
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(task, find_unused_parameters=True, broadcast_buffers=False)

    def _shard(self, task: nn.Module) -> None:
        """The trained weights, as one unit: controls call, hook and read their parts in ways of their own."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self._mesh = init_device_mesh(self.device.type, (self.count,))
        for weight in task.parameters():
            torch.distributed.broadcast(weight.detach(), 0)
        frozen = {weight for weight in task.parameters() if not weight.requires_grad}
        fully_shard(task, mesh=self._mesh, ignored_params=frozen)

    def meeting(self, model: Any, last: bool) -> AbstractContextManager[Any]:
        """Inside, a backward pass sends its gradients round only where it is the ``last`` of a step."""
        if self.shards:
            model.set_requires_gradient_sync(last)
            return nullcontext()
        return nullcontext() if last or self.count == 1 else model.no_sync()

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor's content, on the main process in main memory; every process must ask."""
        tensor = tensor.full_tensor() if self.shards and hasattr(tensor, "full_tensor") else tensor
        return tensor.detach().cpu() if self.main else tensor.new_empty(0)

    def placed(self, value: Tensor, like: Tensor) -> Tensor:
        """``value`` where ``like`` lies, sharded as it is where their shapes agree."""
        if not hasattr(like, "placements") or value.shape != like.shape:
            return value.to(like.device, copy=True)
        from torch.distributed.tensor import distribute_tensor

        made: Tensor = distribute_tensor(value.to(like.device), like.device_mesh, like.placements)  # type: ignore[attr-defined]
        return made

    @contextmanager
    def gathered(self, task: nn.Module) -> Iterator[None]:
        """Inside, the weights of ``task`` are whole on the main process, which must not train; all enter and leave."""
        places = [(module, name) for module in task.modules() for name in module._parameters] if self.shards else []
        sharded: list[tuple[nn.Module, str, Any]] = [
            (module, name, module._parameters[name]) for module, name in places
        ]
        made: dict[int, nn.Parameter] = {}
        for module, name, weight in sharded:
            if hasattr(weight, "full_tensor") and id(weight) not in made:
                whole = weight.full_tensor().detach()
                made[id(weight)] = nn.Parameter(whole if self.main else whole.new_empty(0), weight.requires_grad)
            module._parameters[name] = made.get(id(weight), weight)
        try:
            yield
        finally:
            for module, name, weight in sharded:
                module._parameters[name] = weight

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes; every process must ask."""
        if self.count == 1:
            return value
        made: Tensor = self.accelerator.reduce(value, "mean")
        return made

    def any(self, told: bool) -> bool:
        """Whether any process says so; every process must ask."""
        if self.count == 1:
            return told
        flag = torch.tensor(float(told), device=self.device)
        return bool(self.accelerator.reduce(flag, "sum").item())

    def wait(self) -> None:
        """Until every process is here."""
        self.accelerator.wait_for_everyone()


def own_device() -> str | None:
    """The GPU of this process where a launcher made several; None where the choice is free."""
    place = os.environ.get("LOCAL_RANK")
    return f"cuda:{int(place) % torch.cuda.device_count()}" if place and torch.cuda.is_available() else None


def _told(name: str) -> bool:
    return os.environ.get(name, "false").lower() == "true"


def _check_launch() -> None:
    if _told("ACCELERATE_USE_DEEPSPEED"):
        raise HackamoreError(
            "training under DeepSpeed is not supported",
            expected="accelerate's FSDP, which shards the same things, or plain processes",
            remedy="accelerate launch --use_fsdp --fsdp_version 2",
        )


def check_shards(run: RunSettings) -> None:
    """Raise :class:`HackamoreError` for what does not work where weights are sharded."""
    if run.optimiser not in SHARDED:
        raise HackamoreError(f"{run.optimiser} does not work on shards", expected=f"{' or '.join(SHARDED)} under FSDP")
    if run.precision == "fp16":
        raise HackamoreError("fp16 is not supported under FSDP", expected="bf16, which needs no scaling")


def _check_share(run: RunSettings, count: int) -> None:
    if run.batch_size % count:
        raise HackamoreError(
            "the batch cannot be shared evenly",
            received=f"batch_size {run.batch_size} on {count} processes",
            expected="a multiple of the number of processes",
        )
    if run.accumulate > run.batch_size // count:
        raise HackamoreError(
            "there are more parts than examples",
            received=f"accumulate {run.accumulate}, {run.batch_size // count} examples a process",
            expected="at most as many parts as examples",
        )
