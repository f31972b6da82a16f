"""JPEG files as their quantised DCT coefficients: taken apart, coded, put together again byte for byte.

coefficients  what a JPEG's decoder knows before the inverse DCT
parameters    what of it stands in the header of a .vlae file
code          coefficients <-> streams of adaptive binary arithmetic coding
file          a JPEG file <-> coefficients and a recipe of all else in it
markers, likeness   the markers of a file; what they are likely to be
decode        coefficients -> pixels, as libjpeg-turbo computes them
recover             pixels -> the tables and coefficients that gave them, by
  grid                  where the grid begins, and how chroma was halved
  chroma, search        samples that are open in part, and the coefficients that give them
  tables                the steps of quantisation
"""
