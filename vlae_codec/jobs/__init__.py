"""Many files at once.

plan     which file is made of which
batch    a folder of pictures -> a folder of .vlae files, and back
"""
