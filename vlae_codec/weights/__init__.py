"""Weight files: found, read and checked against one schema.

schema        every tensor that a model has, its type, shape and range
safetensors   the reader of the file's container
model         the integer model, and the search for it
cards         what is known of each model at hand
"""
