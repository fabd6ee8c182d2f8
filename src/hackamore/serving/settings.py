"""What the operator of a server decides."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from hackamore.core.section import Section


class Offer(Section):
    """A base or a control that clients may name; where it lies only the operator knows."""

    name: str
    path: str = Field(description="a catalogue name, a folder, a file or a hub name")
    base: str | None = Field(None, description="of a control: the name of the base it is for; by default the first")
    kind: str | None = Field(None, description="of a control: the kind of hint, where its file does not tell")


class Limits(Section):
    """What one request, and all of them together, may ask for; more is refused in words."""

    body_mib: float = Field(32, gt=0)
    bodies_mib: float = Field(256, gt=0, description="of all requests that are not answered yet; more are answered 503")
    pixels: int = Field(1024 * 1024, gt=0, description="of a finished picture")
    source_pixels: int = Field(40_000_000, gt=0, description="of a picture that is sent, told from its header")
    steps: int = Field(100, gt=0)
    pictures: int = Field(16, gt=0, description="in one request")
    units: int = Field(8, ge=0)
    queue: int = Field(64, gt=0, description="jobs that wait; more are answered 429")
    seconds: float | None = Field(None, gt=0, description="deadline of jobs that tell none")


class ServeSettings(Section):
    """Everything about a server."""

    host: str = "127.0.0.1"
    port: int = Field(7860, ge=0, lt=65536, description="0 takes a free one")
    token: str | None = Field(None, description="bearer token; required when the host is not loopback")
    folder: Path = Field(Path("hackamore-server"), description="accepted jobs and results")
    bases: tuple[Offer, ...] = (Offer(name="meadow", path="meadow"),)
    controls: tuple[Offer, ...] = ()
    devices: tuple[str, ...] = Field((), description="one worker each; by default the best one")
    dtype: str | None = None
    batch: int | None = Field(
        None,
        gt=0,
        description="pictures sampled together; by default 8, on a CPU 4, or 1 where its graphs are compiled",
    )
    memory_mib: int | None = Field(None, gt=0, description="of bases and controls; the least used are let go beyond it")
    keep_hours: float = Field(72, gt=0, description="results are kept so long")
    keep_mib: int = Field(4096, gt=0, description="and so much of them; the oldest go first")
    limits: Limits = Limits()
    log_prompts: bool = False
    canvas: bool = True
    engine: Literal["local", "ray"] = "local"
    replicas: int = Field(1, gt=0, description="of the ray engine")

    @property
    def compiles(self) -> bool:
        """Whether OpenVINO is there for a worker on the CPU: one that is alone, since a graph serves one at a time."""
        from hackamore.backends.choose import is_usable

        return is_usable() and sum(one.startswith("cpu") for one in self.devices) < 2 and self.dtype in (None, "fp32")

    def together(self, device: str) -> int:
        """Pictures that are sampled together on ``device``; benchmarks/serving_batch.py found the 4."""
        if self.batch is not None:
            return self.batch
        return 8 if not device.startswith("cpu") else 1 if self.compiles else 4
