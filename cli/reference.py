"""The reference of the command, from the help of each: `python -m zoo.cli.reference > docs/cli.md`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from zoo.cli.app import app

WIDTH = 100
HEAD = """\
# The command `zoo`

Made by `python -m zoo.cli.reference > docs/cli.md`; a test says when it is out of date.

Results go to stdout, all else to stderr. Exit codes: 0; 1, something failed; 2, it was asked for or given wrongly;
130, Ctrl-C.
"""


def reference() -> str:
    """All commands with their help, as Markdown."""
    return HEAD + "".join(f"\n## {name}\n\n```text\n{text}```\n" for name, text in _helps("zoo", app, None))


def _helps(name: str, command: click.Command, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)
    context.help_option_names = ["-h", "--help"]
    formatter = click.HelpFormatter(width=WIDTH, max_width=WIDTH)
    command.format_help(context, formatter)
    yield context.command_path, formatter.getvalue().rstrip() + "\n"
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            child = command.get_command(context, each)
            assert child is not None
            yield from _helps(each, child, context)


if __name__ == "__main__":
    print(reference(), end="")
