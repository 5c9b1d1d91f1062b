"""What is given of a picture (its grey, or a drawing of it), and the colour that is to be found.

Colours are luma and two differences from it, as in JPEG (ITU-R BT.601, full range)::

    Y = 0.299 R + 0.587 G + 0.114 B     Cb = (B − Y) / 1.772     Cr = (R − Y) / 1.402

All pictures are B×3×H×W in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from models.ssvae.representations import sketch

_LUMA = (0.299, 0.587, 0.114)


def luma(picture: Tensor) -> Tensor:
    """Brightness, B×1×H×W in [0, 1]."""
    weights = picture.new_tensor(_LUMA)[:, None, None]
    return (picture * weights).sum(dim=1, keepdim=True)


def chroma(picture: Tensor) -> Tensor:
    """Cb and Cr, B×2×H×W in [−½, ½]; zero where a picture is grey."""
    y = luma(picture)
    return torch.cat([(picture[:, 2:] - y) / 1.772, (picture[:, :1] - y) / 1.402], dim=1)


def coloured(brightness: Tensor, colour: Tensor) -> Tensor:
    """The picture of exactly that luma, B×1×H×W in [0, 1], and of that chroma as far as there is
    one: colours beyond what R, G and B can show are brought nearer to grey."""
    blue, red = colour[:, :1] * 1.772, colour[:, 1:] * 1.402
    green = -(_LUMA[0] * red + _LUMA[2] * blue) / _LUMA[1]  # the weighted sum is zero
    change = torch.cat([red, green, blue], dim=1)
    room = torch.where(change > 0, 1 - brightness, -brightness)
    share = torch.where(change.abs() > 1e-6, room / change, torch.ones_like(change))
    return brightness + change * share.amin(dim=1, keepdim=True).clamp(0, 1)


def grey_of(picture: Tensor) -> Tensor:
    """Luma as a picture."""
    return luma(picture).expand(-1, 3, -1, -1)


def drawing_of(picture: Tensor) -> Tensor:
    """The drawing that :func:`models.ssvae.representations.sketch` makes, at the picture's own
    size: every stroke pixel four by four times. Sides are multiples of 4."""
    return F.interpolate(sketch(picture), scale_factor=4, mode="nearest")


#: What can be given: of a picture, one of the same size with less in it.
GIVEN: dict[str, Callable[[Tensor], Tensor]] = {"grey": grey_of, "sketch": drawing_of}
#: The model whose latents complete it: u of the second holds drawings.
MODEL_OF = {"grey": "ssvae", "sketch": "ssvae-sketch"}
