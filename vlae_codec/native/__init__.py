"""Everything that runs once a pixel or once a symbol: a C library (`core/`) and thin wrappers, one a subject.

    library     loads the C core, chooses its target, compares its constants with `vlae_codec.contract`
    ans         the coder: a stack of words under several heads
    network     integer networks
    mixture     integer CDFs of mixtures of logistics
    waves       the order in which positions are coded, and pushing in it
    pixels      the pixels of a tile: gather, network, distributions, coder
    latents     the flow prior of a tile's latents
    deflate     deflate streams: taken apart, zlib's matches predicted, put together
    rows        filters of PNG's rows
    gradients   bits of pixels and their gradient by an adapter's numbers

`core/vlae.h` lists the library's functions; `build_core` compiles it.
"""
