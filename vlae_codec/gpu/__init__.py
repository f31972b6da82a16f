"""The pixels' work on a torch device. Nothing here is needed on a CPU, and all of it needs torch.

device       the pixels of a batch of tiles
convoy       tiles of several threads that go together
gradients    bits and gradients of an adapter's numbers
"""
