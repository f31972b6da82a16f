"""The command line: options, progress and messages. What the commands do is in `vlae_codec`."""

from .app import main

__all__ = ["main"]
