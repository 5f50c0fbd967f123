"""The command `zoo`: imports a command's module when it is used; every error is one line and an exit code."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from zoo.cli.command import common_options, examples
from zoo.errors import ZooError, did_you_mean
from zoo.names import FormerName
from zoo.version import __version__

COMMANDS = (  # each is the module of its name, imported when it is used
    "list",
    "search",
    "info",
    "run",
    "pull",
    "inspect",
    "convert",
    "verify",
    "formats",
    "cache",
    "lock",
    "bundle",
    "unbundle",
    "doctor",
    "completion",
    "version",
)
INTERRUPTED = 130  # what a shell says of a process that Ctrl-C ended


class App(click.Group):
    """The commands by name, and what happens when one fails."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name; its module is imported now."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = import_module(f"zoo.cli.{cmd_name}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest name where there is none."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"No such command {args[0]!r}. {did_you_mean(args[0], COMMANDS)}".rstrip(), ctx)
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Where to begin."""
        examples(self.epilog, formatter)

    def main(self, *args: Any, **settings: Any) -> Any:
        """As click's: exit codes 0, 1 for a failure, 2 for what was asked or given wrongly, 130 for Ctrl-C."""
        given = args[0] if args else settings.pop("args", None)
        line = sys.argv[1:] if given is None else list(given)
        if not settings.pop("standalone_mode", True):
            return super().main(line, standalone_mode=False, **settings)
        sys.exit(self._code(line, settings))

    def _code(self, line: list[str], settings: dict[str, Any]) -> int:
        try:
            with _short_warnings():
                result = super().main(line, standalone_mode=False, **settings)
                sys.stdout.flush()
            return result if isinstance(result, int) else 0
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return error.exit_code
        except click.UsageError as error:
            where = f"  `{error.ctx.command_path} --help` shows how it is used." if error.ctx else ""
            return _failed(line, error, f"UsageError: {error.format_message()}{where}", error.exit_code)
        except click.ClickException as error:
            return _failed(line, error, f"Error: {error.format_message()}", error.exit_code)
        except ZooError as error:
            return _failed(line, error, f"{type(error).__name__}: {_sentence(error)}", error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("Interrupted", err=True)
            return INTERRUPTED
        except BrokenPipeError:  # whoever read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            return _failed(line, error, f"{type(error).__name__}: {error}", 1)
        except Exception as error:  # noqa: BLE001  the last line of defence: a bug is no traceback either
            text = " ".join(f"{type(error).__name__}: {error}".split())
            return _failed(line, error, f"Bug in Polyzoo: {text}  `--debug` shows where; please report it.", 1)


def _failed(line: list[str], error: BaseException, text: str, code: int) -> int:
    if "--debug" in line:
        import traceback

        traceback.print_exception(error)
    click.echo(text, err=True)
    return code


def _sentence(error: ZooError) -> str:
    """Message and next step, in one line if the message is one."""
    if not error.hint:
        return error.message
    if "\n" in error.message:
        return f"{error.message}\n{error.hint}"
    return f"{error.message}{'' if error.message.endswith(('.', '!', '?')) else '.'} {error.hint}"


@contextmanager
def _short_warnings() -> Iterator[None]:
    """Within it, a warning is one line on stderr, and one about a former name is never left out."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: click.echo(f"warning: {message}", err=True)
        warnings.simplefilter("always", FormerName)
        yield


@click.command(
    cls=App,
    params=common_options(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="""
    zoo list --task image-classification --max-params 10M
    zoo run efficientnet-lite0 photo.jpg
    zoo run minilm-l6 --query "how do I get my money back" sentences.txt
    zoo doctor
    """,
)
@click.version_option(__version__, prog_name="zoo", message="%(prog)s %(version)s")
def app() -> None:
    """One registry of pretrained models: find, fetch, run and convert them, each in any framework."""


def main() -> None:
    """The console script."""
    app(prog_name="zoo")
