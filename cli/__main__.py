"""``python -m vlae_codec.cli``, the form that torchrun takes."""

from .app import main

main(prog_name="vlae-codec")
