"""Experiments whose outcome is known, each with the command that repeats it."""
