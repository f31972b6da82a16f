"""Tiles <-> bits: the model's distributions drive the coder.

codecs      a codec is a pair (push, pop); functions that make larger codecs of smaller ones
inference   the networks: pixels and latents -> parameters of distributions
tile        the codec of a tile: bits-back, with bands A and B
choice      what an encoder chooses for a tile
streams     tiles -> the bytes of a stream, and back
"""
