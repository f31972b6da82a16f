"""Recipes: what makes the very file again from its pixels and metadata, byte for byte.

recipe     the kinds of recipes; a recipe is made and tried, or followed
png        chunks, filters of rows, and a deflate stream
filters    scanlines of PNG and their filters
stream     a deflate stream: its encoder's numbers, and what it did otherwise
weave      files that have their samples as they are: PNM, BMP, TIFF without compression
packing    numbers, blobs and columns of numbers

>>> recipe = make(file, pictures)
>>> restore(pictures, recipe, limits) == file
True
"""
