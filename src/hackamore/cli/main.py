"""The command ``hackamore``: errors become sentences and exit codes here, and nowhere else."""

from __future__ import annotations

import os
import sys
import traceback

import typer

from hackamore.cli import (
    annotate,
    batch_jobs,
    bench,
    circles,
    convert,
    demo,
    evaluate,
    generate,
    info,
    replay,
    serve,
    train,
    transfer,
    world,
)
from hackamore.core.errors import HackamoreError

app = typer.Typer(
    name="hackamore",
    help="Steer text-to-image diffusion models without touching their weights.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    demo,
    generate,
    replay,
    annotate,
    train,
    evaluate,
    circles,
    world,
    info,
    convert,
    transfer,
    serve,
    batch_jobs,
    bench,
):
    name = {batch_jobs: "batch"}.get(command, command.__name__.rpartition(".")[2])
    own = {"allow_extra_args": True, "ignore_unknown_options": True} if command is annotate else {}
    app.command(name=name, context_settings=own)(command.run)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    if debug:
        os.environ["HACKAMORE_DEBUG"] = "1"
    if version:
        from importlib.metadata import version as installed

        print(f"hackamore {installed('hackamore')}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Run the command line; exit 0 done, 1 the work failed, 2 the input is wrong, 130 stopped by Ctrl-C."""
    _quiet()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        if app(standalone_mode=False) == 130:
            raise KeyboardInterrupt
    except HackamoreError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        if hasattr(error, "format_message"):  # the parser's own: an unknown option, a missing argument
            _fail(f"{error.format_message()}\ntry: hackamore --help, or hackamore COMMAND --help", 2)
        _fail(f"hackamore failed: {type(error).__name__}: {error}\ntry: hackamore --debug COMMAND …, and report it", 1)


def _fail(words: str, code: int) -> None:
    if os.environ.get("HACKAMORE_DEBUG"):
        traceback.print_exc()
    print(f"error: {words}" if code != 130 else words, file=sys.stderr)
    sys.stderr.flush()
    sys.exit(code)


def _quiet() -> None:
    """Other libraries' notices and bars are not ours to show."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    if not os.environ.get("HACKAMORE_DEBUG"):
        import warnings

        warnings.simplefilter("ignore")


if __name__ == "__main__":
    main()
