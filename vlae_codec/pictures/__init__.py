"""Pictures <-> files in memory.

image    picture files <-> pixels and metadata, by Pillow
modes    pixels of a mode <-> tiles
codec    the codec of a picture: which model, device and adapter
encode   pictures -> a .vlae file
decode   a .vlae file -> pictures
"""
