"""The bytes of a .vlae file; nothing here knows a model.

container   the file: chunks, records, limits; its docstring is the beginning of the specification
header      what chunk H says: pictures, layouts, groups of planes
fields      chunk H as bytes
chunks      the framing of a part of the file, and its checksum
streams     the layout of a stream that the model coded
stored      streams without a model: raw samples, LZMA or lossless WebP
"""
