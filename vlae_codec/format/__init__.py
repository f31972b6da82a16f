"""The bytes of a .vlae file; nothing here knows a model.

container   the file: header, tables, chunks, limits; its docstring is the specification
chunks      the framing of a part of the file, and its checksum
streams     the layout of a stream that the model coded
stored      streams without a model: raw samples or LZMA
"""
