"""Who watches a run, from its settings."""

from __future__ import annotations

from pathlib import Path

from hackamore.core.errors import HackamoreError
from hackamore.training.settings import TrackSettings
from hackamore.training.watch.card import Card
from hackamore.training.watch.page import Page
from hackamore.training.watch.progress import Progress
from hackamore.training.watch.push import Push
from hackamore.training.watch.trackers import TensorBoard, WandB
from hackamore.training.watcher import Watcher


def watchers_of(track: TrackSettings, output: Path | str, quiet: bool = False) -> list[Watcher]:
    """Progress, page, trackers, card and push, in the order in which they are told; ``output`` is the run's folder.

    ``quiet``: of the progress only warnings. Raises :class:`HackamoreError` for a tracker that is not
    installed, for a push that cannot work, and for an ``output`` that is a file; made before the first step, so that
    nothing is trained in vain.
    """
    if Path(output).is_file():
        raise HackamoreError("the output is a file", received=output, expected="a folder")
    watchers: list[Watcher] = [Progress(quiet=quiet)]
    watchers += [Page()] if track.page else []
    watchers += [TensorBoard() if name == "tensorboard" else WandB(track.project) for name in track.trackers]
    pushed = None if track.push is None else Push(track.push)
    watchers.append(Card(None if pushed is None else pushed.repo))
    return watchers if pushed is None else [*watchers, pushed]
