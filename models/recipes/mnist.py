"""MNIST in 8-bit grey: small pictures, most of them background.

    vlae-codec train mnist_train60k.npz --recipe mnist -o mnist.safetensors

mnist_train60k.npz: `x`, (60000, 28, 28) uint8.
"""

from dataclasses import replace

from . import mnist_binary

CONFIG = replace(mnist_binary.CONFIG, levels=256, window=(7, 4), mixtures=4)
SETTINGS = mnist_binary.SETTINGS
