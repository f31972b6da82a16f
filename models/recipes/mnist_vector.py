"""Statically binarised MNIST with one latent vector a digit, as in the paper: a cell has 28x28 pixels.

    vlae-codec train binarized_mnist_static.npz:train --valid binarized_mnist_static.npz:valid \\
        --recipe mnist-vector -o mnist-vector.safetensors

A window of 21x11 pixels sees most of what is above in a digit, so the vector has little to say: 8 bits.
"""

from dataclasses import replace

from . import mnist_binary

CONFIG = replace(
    mnist_binary.CONFIG,
    window=(21, 11),
    layers=4,
    stride=28,
    latents=32,
    encoder=80,
    prior_window=(3, 1),
    prior_hidden=32,
    prior_mixtures=7,
    flow_steps=1,
)
SETTINGS = replace(mnist_binary.SETTINGS, minutes=100, pixels=12288, plain=0.1, free_bits=8.0)
