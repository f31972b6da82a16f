"""The architecture of a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from vlae_codec.contract import STRETCH


@dataclass(frozen=True)
class Config:
    """Architecture; stored with the weights, so nobody ever repeats it as a flag."""

    channels: int = 3
    levels: int = 256  # values of a subpixel: 256, or 2 (bilevel pictures)
    window: tuple[int, int] = (7, 4)  # the paper's A x B: A wide, B rows up, and the pixels to the left
    hidden: int = 192  # width of the local network
    layers: int = 2  # its hidden layers
    mixtures: int = 5  # logistics per pixel
    context: int = 16  # features per pixel from the latents
    stride: int = 8  # pixels per latent cell and direction: 4, 8, 16 or 28
    latents: int = 4  # channels of the latent grid
    encoder: int = 96  # width of the encoder
    topdown: int = 96  # width of the top-down network
    prior_window: tuple[int, int] = (5, 2)
    prior_hidden: int = 64
    prior_mixtures: int = 3
    flow_steps: int = 2  # 0: a fixed logistic per channel
    styles: tuple[int, int] = (0, 0)  # stages of shifts of the local network's outputs, and how many there are in each
    side: int = 0  # planes known before, whose samples enter the local network beside the context

    def to_dict(self) -> dict:
        values = asdict(self)
        return {
            key: value for key, value in values.items() if key not in ("side", "styles") or value not in (0, (0, 0))
        }

    @staticmethod
    def from_dict(values: dict) -> Config:
        values = dict(values)
        pairs = ("window", "prior_window", "styles")
        values.update({key: tuple(values[key]) for key in pairs if key in values})
        return Config(**values)

    @property
    def stretch(self) -> int:
        """What a subpixel is multiplied by where it enters a network: bilevel pixels would be lost in 8 bits."""
        return 1 << STRETCH[self.levels]
