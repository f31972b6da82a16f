"""Many pictures in one file, any of which can be brought back alone.

names    what members may be called, and where they go when they are extracted
index    the bytes of an archive beside its groups; root and footer
pages    what it says of the members
source   ranges of bytes of a file, an object or a URL
reader   an archive as a sequence of members
groups   which pictures are coded together, and with which model
writer   archives are made, and members added, so that a kill loses nothing
extract  members back into files; what of a damaged archive can be saved
listing  a page of HTML that shows the members
filesystem  the members as files of fsspec
"""
