"""What a file shows without being brought back: facts, bits, latents.

describe   what a file holds
bitsmap    where its bits went
sampling   pictures drawn from a model, or from the latents of a file
mosaic     many pictures as one
"""
