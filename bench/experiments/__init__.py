"""The paper's experiments at a small scale, one command each (Chen et al. 2017, arXiv 1611.02731).

    python -m bench.experiments.information DATA     (a) which decoders use their latents
    python -m bench.experiments.window DATA          (b) receptive field against KL; (f) attention for a masked window
    python -m bench.experiments.prior DATA           (c) autoregressive-flow prior against N(0, I)
    python -m bench.experiments.lossy DATA           (d) pictures from their latents alone
    python -m bench.experiments.vqvae DATA           (e) VQ-VAE with an autoregressive prior, coded without bits-back
    python -m bench.experiments.tables DATA          (g) the shape of the paper's tables 1 to 4

DATA is a folder with the arrays that `sets` names. Data flows `sets` -> `nets` (`latents`, `decoders`, `likelihoods`)
-> `fit` -> an experiment -> `record`, which writes JSON and figures into bench/results/experiments; `python -m
bench.report` makes text of them. Everything here is in floats: what the codec's own integer models promise, and what
their files need, is in `bench.theory`.
"""
