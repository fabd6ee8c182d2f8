"""``--push``: the finished control goes to the hub, with its card and its newest samples and nothing else."""

from __future__ import annotations

import glob
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub import HfApi, get_token, is_offline_mode
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from rich.console import Console
from safetensors import SafetensorError, safe_open

from hackamore.controls.formats.diffusers import WEIGHTS
from hackamore.core.errors import HackamoreError, WorkFailed
from hackamore.training.forms.write import FORM
from hackamore.training.samples import sample_files
from hackamore.training.watcher import Outcome, Started, Watcher

BESIDE = ("README.md", "MODEL_CARD.md", "curves.png")
"""What is pushed beside the files of weights, their ``config.json``, and the newest picture of ``samples``."""


class Push(Watcher):
    """Pushes at the end of a run. What can be wrong is told when it is made, before the first step.

    A push that fails is told on ``console`` (stderr by default) with the line that pushes again, and kept as
    ``failed``: the finished control and all else of the run is there.

    Raises :class:`HackamoreError` for a name that the hub does not take, a missing or refused token, one that may not
    write there, and a hub that cannot be reached.
    """

    def __init__(self, repo: str, console: Console | None = None) -> None:
        self.repo = check(repo)
        self.console = console or Console(stderr=True, highlight=False)
        self.address: str | None = None
        self.failed: WorkFailed | None = None

    def begins(self, started: Started) -> None:
        """Note where the run writes."""
        self.output = started.output

    def ends(self, done: int, outcome: Outcome, words: str) -> None:
        """Push what is finished, and say where it is or why it is not."""
        if outcome not in ("done", "early"):
            return
        try:
            self.address = push(self.repo, self.output)
        except WorkFailed as error:
            self.failed = error
        told = f"pushed to {self.address}" if self.failed is None else str(self.failed)
        self.console.print(told, markup=False, soft_wrap=True)


def check(repo: str) -> str:
    """The full name of ``repo``, its owner added where it has none; asks the hub who the token belongs to."""
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise HackamoreError(
            "the hub does not take this name", received=repo, expected="name, or owner/name: letters, digits, - _ ."
        ) from error
    if is_offline_mode():
        raise HackamoreError("nothing can be pushed while the hub is switched off", received="HF_HUB_OFFLINE=1")
    if not get_token():
        raise HackamoreError("there is no token for the hub", remedy="hf auth login, or set HF_TOKEN")
    try:
        told = HfApi().whoami()
    except Exception as error:
        refused = isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403)
        what = "the hub does not take the token" if refused else "the hub cannot be reached"
        raise HackamoreError(what, received=_first_line(error), remedy="hf auth login" if refused else None) from error
    owners = [str(told["name"]), *(str(org["name"]) for org in told.get("orgs", ()))]
    owner, _, name = repo.rpartition("/")
    if owner and owner not in owners:
        raise HackamoreError(
            f"the token may not write to {repo}", received=owner, expected=f"one of {', '.join(owners)}"
        )
    if told.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise HackamoreError("the token for the hub may only read", remedy="a token that may write; then hf auth login")
    return f"{owner or owners[0]}/{name}"


def push(repo: str, output: Path) -> str:
    """Upload the finished control in ``output``; returns its address.

    Raises :class:`WorkFailed` when it does not work, and when a file would tell a path of this machine.
    """
    chosen = chosen_files(output)
    names = [path.relative_to(output).as_posix() for path in chosen]
    again = ["hf", "upload", repo, str(output), ".", *(part for name in names for part in ("--include", name))]
    try:
        _refuse_secrets(chosen, output)
        api = HfApi()
        address = api.create_repo(repo, exist_ok=True)
        api.upload_folder(
            repo_id=repo,
            folder_path=output,
            allow_patterns=[glob.escape(name) for name in names],
            commit_message="Add a control trained with Hackamore",
        )
    except WorkFailed:
        raise
    except Exception as error:
        raise WorkFailed(
            f"the control is finished and lies in {output}, but pushing it to {repo} failed",
            received=_first_line(error),
            remedy=shlex.join(again),
        ) from error
    return str(address)


def chosen_files(output: Path) -> list[Path]:
    """What is pushed of a run: weights and their settings, card and curves, and the newest sample; sorted.

    Weights are known by the header that an export writes, so that nothing else of a folder that was there before goes:
    no data, no base, no run beside this one. Of a base that was unlocked its U-Net goes too.
    """
    weights = [path for path in sorted(output.glob("*.safetensors")) if path.is_file() and FORM in _header(path)]
    found = [path for name in BESIDE if (path := output / name).is_file()]
    folders = {path.parent for path in weights if path.name == WEIGHTS}
    if weights and (output / "unet" / WEIGHTS).is_file():
        weights.append(output / "unet" / WEIGHTS)
        folders.add(output / "unet")
    found += [*weights, *(path for folder in folders if (path := folder / "config.json").is_file())]
    return sorted(found) + [path for _, path in sample_files(output / "samples")[-1:]]


def _refuse_secrets(chosen: Sequence[Path], output: Path) -> None:
    """Nothing that is pushed may hold a path of this machine or the token."""
    token = get_token()
    folders = {output.resolve(), output.resolve().parent, Path.cwd(), Path.home()}
    secrets = [f"{folder}" for folder in folders if len(folder.parts) > 2 or folder == Path.home() != Path("/")]
    for path in chosen:
        for text in _texts(path):
            if token and token in text:
                raise WorkFailed(f"{path.name} holds the token of the hub; nothing was pushed")
            told = next((secret for secret in secrets if secret in text), None)
            if told is not None:
                raise WorkFailed(f"{path.name} tells a path of this machine; nothing was pushed", received=told)


def _texts(path: Path) -> Iterator[str]:
    """What can be read in a file: text as it stands, and the header of a file of weights."""
    if path.suffix in (".md", ".json"):
        yield path.read_text(encoding="utf-8", errors="replace")
    elif path.suffix == ".safetensors":
        yield json.dumps(_header(path), ensure_ascii=False)


def _header(path: Path) -> dict[str, str]:
    """What the header of a file of weights tells; empty for a file that is none."""
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return {}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
