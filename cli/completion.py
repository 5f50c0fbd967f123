"""zoo completion: what makes a shell complete commands, options and the names of models."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from zoo.cli import command as cli

WHERE = {
    "bash": "zoo completion bash > ~/.local/share/bash-completion/completions/zoo",
    "zsh": "zoo completion zsh > ~/.zfunc/_zoo    (in ~/.zshrc: fpath+=~/.zfunc; autoload -Uz compinit; compinit)",
    "fish": "zoo completion fish > ~/.config/fish/completions/zoo.fish",
}


@cli.command("completion", epilog="\n".join(WHERE.values()))
@click.argument("shell", type=click.Choice(list(WHERE)))
def command(shell: str) -> None:
    """Print the script for tab completion.

    It completes `zoo` in SHELL; keep it where the examples say.
    """
    from zoo.cli.app import app

    made = get_completion_class(shell)
    assert made is not None  # click has these three
    script = made(app, {}, "zoo", "_ZOO_COMPLETE").source()
    cli.show({"shell": shell, "script": script}, lambda value: [value["script"]])
