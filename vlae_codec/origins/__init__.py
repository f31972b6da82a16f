"""Origins: what pictures were before they were RGB, and the way back.

names.py        names of origins
conversions.py  YCbCr to RGB, as programs compute it
origin.py       an origin: conversion and enlargement of chroma; a picture rebuilt from its source planes
find.py         the origin of a picture, and its source planes
values.py       the RGB triples that a conversion gives
"""

from vlae_codec.origins.find import Found, find, invert
from vlae_codec.origins.origin import Origin, Region, needs, rebuild

__all__ = ["Found", "Origin", "Region", "find", "invert", "needs", "rebuild"]
