"""Adapters: a file may change the local network's weights for its pictures.

chunk     what an adapter is, how a file holds it, how it changes a network
effort    levels: how much work goes into finding one
sample    the pixels that one is fitted to
fit       finding one
autograd  bits and gradients by torch, on a device
"""
