"""The VLAE itself: float network, training and quantising export. Needed to make weights, never to use them."""
