"""Browsers and Node: a JavaScript package over the core compiled to WebAssembly, which decodes and compresses at effort
1, and a viewer page.
"""
