"""``vlae-codec completion``: click's scripts, by which a shell completes commands, options and names of files."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

NAME, VARIABLE = "vlae-codec", "_VLAE_CODEC_COMPLETE"
BEFORE = {"zsh": "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"}  # where nobody has done that


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete the commands, options and names of files of vlae-codec.

    \b
    bash  vlae-codec completion bash >> ~/.bashrc
    zsh   vlae-codec completion zsh >> ~/.zshrc
    fish  vlae-codec completion fish > ~/.config/fish/completions/vlae-codec.fish
    """
    found, parent = get_completion_class(shell), context.parent
    assert found is not None
    assert parent is not None
    head, line, rest = found(parent.command, {}, NAME, VARIABLE).source().partition(f"#compdef {NAME}\n")
    click.echo(head + line + BEFORE.get(shell, "") + rest if line else head)
