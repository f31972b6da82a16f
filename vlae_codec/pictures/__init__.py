"""Pictures <-> files in memory.

modes    samples <-> the symbols that are coded, by groups of planes
codec    the codec of a group of planes: which model, device and adapter
layout   which groups, scales and values an encoder takes
planes   a group of planes -> the smallest of its parts
part     a group of planes -> its streams under one codec
past     what a picture was before it was RGB, and its streams
sources, blocks   the planes, or the coefficients, that it was
rebuild  colours, of what a picture was
pieces   the streams of a group of planes -> its pieces
encode   pictures -> a .vlae file
decode   a .vlae file -> pictures
"""
