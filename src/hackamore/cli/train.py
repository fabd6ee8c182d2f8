"""``hackamore train``: a configuration → trained weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[Path, typer.Argument(help="A TOML file: stage, data, output and [run].")],
    base: Annotated[str | None, typer.Option(help="The base to steer.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the training pairs.")] = None,
    kind: Annotated[str | None, typer.Option(help="Which hint: canny, seg, or a sub-folder of the data.")] = None,
    init: Annotated[Path | None, typer.Option(help="A control to go on from.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the finished weights go.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples a step, over all processes.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate at its height.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is random.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint in the output folder.")] = True,
) -> None:
    """Train what CONFIG describes; options win over the file. Goes on where it was stopped."""
    from hackamore.core.extras import require

    require("accelerate", "train", "training")

    from hackamore.training.stages import read_stage

    told = {
        "base": base, "data": data, "kind": kind, "init": init, "output": out, "steps": steps,
        "batch_size": batch_size, "lr": lr, "checkpoint_every": checkpoint_every, "seed": seed,
    }  # fmt: skip
    stage = read_stage(config, **told)

    from hackamore.training.trainer import train

    print(f"done: {train(stage.task(), stage.run, stage.output, resume=resume)}")
