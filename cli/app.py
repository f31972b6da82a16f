"""The command group. Commands are imported when they are called, so that ``info`` never waits for torch."""

from __future__ import annotations

import importlib
from typing import IO, Any

import click

from vlae_codec import __version__
from vlae_codec.errors import VlaeError

# name -> (module, the command in it, line of help): listing the commands imports none of them.
_COMMANDS = {
    "bench": ("vlae_codec.cli.bench", "bench", "Compare the models with other codecs on your pictures."),
    "compress": ("vlae_codec.cli.coding", "compress", "Compress a picture into a .vlae file."),
    "decompress": ("vlae_codec.cli.coding", "decompress", "Bring back the picture of a .vlae file."),
    "info": ("vlae_codec.cli.info", "info", "Say what a .vlae file holds."),
    "models": ("vlae_codec.cli.models", "models", "List the models at hand."),
    "preview": ("vlae_codec.cli.sampling", "preview", "Show what the latents of a .vlae file say."),
    "sample": ("vlae_codec.cli.sampling", "sample", "Draw new pictures from a model."),
    "train": ("vlae_codec.cli.train", "train", "Train a model on your own pictures."),
}


class Failure(click.ClickException):
    """One line on stderr and exit status 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {' '.join(self.message.split())}", file=file, err=True)


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for, and turns VlaeError into `Failure`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][2]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VlaeError as error:
            raise Failure(str(error)) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vlae-codec")
def main() -> None:
    """Lossless image compression with a variational lossy autoencoder and bits-back ANS."""
