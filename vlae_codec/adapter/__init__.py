"""Adapters: a file may change the local network's weights for its pictures.

chunk     what an adapter is, how a file holds it, how it changes a network
style     those that come with a model, and which of them fits some pictures
effort    levels: how much work goes into finding one
sample    the pixels that one is fitted to
fit       finding one
autograd  bits and gradients by torch, on a device
"""
