"""Picture files <-> `Picture`s in memory, sample by sample.

picture    a picture: samples, what they mean, and the metadata that travels along
image      which reader a file needs, and which writer a name asks for
metadata   what travels along: its keys, what of it goes when metadata go, lines for people

png, png_chunks, png_places, png_rows              PNG
tiff, tiff_layout, tiff_pixels, tiff_tags, ifd     TIFF -> pictures; tiff_write back
pnm                                                PBM, PGM, PPM, PAM, PFM
frames, compose, apng, gif, webp, ico, jpeg, jpeg_scan     files of several frames or sizes, and JPEG
small, wide, wide_headers                          formats of which Pillow rounds the samples
pillow, kinds                                      all others, and which of them are refused
"""
