"""Origins: what pictures were before they were RGB, and the way back.

names.py        names of origins
conversions.py  YCbCr to RGB, as programs compute it
origin.py       an origin: conversion and enlargement of chroma; a picture rebuilt from its source planes
find.py         the origin of a picture, and its source planes
values.py       the RGB triples that a conversion gives
"""
