"""Recipes: what a weight file was made with. One module each, opening with the exact command."""
