"""JPEG files as their quantised DCT coefficients: taken apart, coded, put together again byte for byte.

coefficients  what a JPEG's decoder knows before the inverse DCT
file, scan    a JPEG file <-> coefficients and a recipe of all else in it
code          coefficients <-> streams of adaptive binary arithmetic coding
"""
