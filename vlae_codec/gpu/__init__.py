"""The pixels' work on a torch device. A CPU needs nothing of this, and all of it needs torch.

device       the codec of the pixels of a batch of tiles
walk         the waves of a batch
arithmetic   networks and CDFs of pixels on tensors
compiled     functions compiled by torch, CUDA graphs
convoy       tiles of several threads that go together
logistics    mixtures of logistics in floats
"""
