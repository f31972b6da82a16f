"""Decoding in browsers and in Node: a JavaScript package over the core compiled to WebAssembly, and a viewer page."""
