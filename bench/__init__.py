"""Measurements, one command each. Figures in the README, the docs and the model cards come from here."""
