"""Many files over the nodes of a Ray cluster, each from one fsspec URL to another: local folders, s3:// and the like.

places   listing, reading and writing by URL; which file is made of which
work     one file, as a worker does it
engine   all files, through Ray Data
"""

from __future__ import annotations

from vlae_codec.cluster.engine import run
from vlae_codec.cluster.places import Job, Plan, make_plan
from vlae_codec.cluster.work import Compressing, Decompressing, Outcome, convert

__all__ = ["Compressing", "Decompressing", "Job", "Outcome", "Plan", "convert", "make_plan", "run"]
