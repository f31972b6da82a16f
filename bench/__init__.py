"""Measurements, one command each. Figures in the README and the model cards come from here."""
