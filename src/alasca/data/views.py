"""Views of a batch of pictures: weak (shift and flip) and strong (RandAugment-style operations and Cutout).

All draws come from `seeds.uniform`, so a view is a function of (seed, sample), whatever the batch. Pictures are
``[B, C, H, W]`` in [0, 1]; the operations and their ranges follow RandAugment (Cubuk et al., 2020), without
equalisation, and Cutout (DeVries and Taylor, 2017).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from alasca.data.seeds import fold, uniform

VIEWS = ("plain", "weak", "strong", "randaugment")


def crop_and_flip(pictures: Tensor, crop: int | None, shift: int, flip: bool, seed: int, index: Tensor) -> Tensor:
    """A random crop of the picture padded by `shift` zeros, and a mirror image, 1 in 2.

    Args:
        pictures: ``[B, C, H, W]``, any type.
        crop: side of the crop in pixels; None: the picture's own size, so that it moves up to `shift` steps each way.
        shift: pixels of padding.
        flip: whether to mirror left and right.
        seed: of the draws.
        index: ``[B]``, whose draws they are.
    """
    if not shift and not flip and crop is None:
        return pictures
    size, channels, height, width = pictures.shape
    tall, wide = (height, width) if crop is None else (crop, crop)
    draws = uniform(seed, index, 3)
    top, left = (
        (draws[:, k : k + 1] * (room + 2 * shift + 1)).long() for k, room in ((0, height - tall), (1, width - wide))
    )
    rows = torch.arange(tall, device=pictures.device) + top
    columns = torch.arange(wide, device=pictures.device).expand(size, wide)
    if flip:
        columns = torch.where(draws[:, 2:] < 0.5, wide - 1 - columns, columns)
    columns = columns + left
    padded = F.pad(pictures, (shift,) * 4).flatten(2)
    flat = (rows[:, :, None] * (width + 2 * shift) + columns[:, None, :]).flatten(1)
    return padded.gather(2, flat[:, None].expand(size, channels, -1)).view(size, channels, tall, wide)


def centre_crop(pictures: Tensor, crop: int | None) -> Tensor:
    """The middle square of side `crop`; all of the picture where it is None."""
    if crop is None:
        return pictures
    top, left = (pictures.shape[2] - crop) // 2, (pictures.shape[3] - crop) // 2
    return pictures[:, :, top : top + crop, left : left + crop]


def cutout(pictures: Tensor, length: int, seed: int, index: Tensor) -> Tensor:
    """Zero a square of side `length` around a random pixel, clipped at the border."""
    height, width = pictures.shape[-2:]
    draws = uniform(seed, index, 2)
    top = (draws[:, 0] * height).long()[:, None] - length // 2
    left = (draws[:, 1] * width).long()[:, None] - length // 2
    y, x = torch.arange(height, device=pictures.device), torch.arange(width, device=pictures.device)
    inside_y, inside_x = (y >= top) & (y < top + length), (x >= left) & (x < left + length)
    return pictures.masked_fill((inside_y[:, :, None] & inside_x[:, None, :])[:, None], 0)


def affine(pictures: Tensor, matrix: Tensor) -> Tensor:
    """Each picture under its own ``[B, 2, 3]`` inverse affine map, bilinear, black outside."""
    grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, align_corners=False)


def affine_of(kind: str, amount: Tensor) -> Tensor:
    """``[B, 2, 3]`` for one kind of move; `amount` in [-1, 1] is the share of its full range."""
    one, zero = torch.ones_like(amount), torch.zeros_like(amount)
    a, b, tx, c, d, ty = one, zero, zero, zero, one, zero
    if kind == "rotate":  # 30 degrees
        angle = amount * (torch.pi / 6)
        a, b, c, d = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
    elif kind == "shear_x":
        b = amount * 0.3
    elif kind == "shear_y":
        c = amount * 0.3
    elif kind == "translate_x":  # 0.3 of the width; the grid is 2 wide
        tx = amount * 0.6
    else:
        ty = amount * 0.6
    return torch.stack([torch.stack([a, b, tx], -1), torch.stack([c, d, ty], -1)], 1)


def grey(pictures: Tensor) -> Tensor:
    """Luminance ``[B, 1, H, W]``; the mean of the channels where there are not three."""
    if pictures.shape[1] != 3:
        return pictures.mean(1, keepdim=True)
    weights = pictures.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return (pictures * weights).sum(1, keepdim=True)


def blurred(pictures: Tensor) -> Tensor:
    """A 3x3 blur with a heavy centre, as image libraries sharpen against."""
    kernel = pictures.new_tensor([[1.0, 1, 1], [1, 5, 1], [1, 1, 1]]).div(13).expand(pictures.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(pictures, (1,) * 4, mode="replicate"), kernel, groups=pictures.shape[1])


def stretched(pictures: Tensor) -> Tensor:
    """Each channel stretched to the full range."""
    low, high = pictures.amin((2, 3), keepdim=True), pictures.amax((2, 3), keepdim=True)
    return torch.where(high > low, (pictures - low) / (high - low).clamp(min=1e-6), pictures)


def blend(toward: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """An enhancement: from the picture away from, or to, `toward(picture)`, by ``1 + 0.9 amount``."""
    return lambda pictures, amount: torch.lerp(toward(pictures), pictures, 1 + 0.9 * amount).clamp(0, 1)


MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
COLOURS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": blend(torch.zeros_like),
    "contrast": blend(lambda x: grey(x).mean((1, 2, 3), keepdim=True).expand_as(x)),
    "saturation": blend(lambda x: grey(x).expand_as(x)),
    "sharpness": blend(blurred),
    "posterise": lambda x, amount: (x * 255 / (levels := 2 ** (4 * amount.abs()).round())).floor() * levels / 255,
    "solarise": lambda x, amount: torch.where(x >= 1 - amount.abs(), 1 - x, x),
    "autocontrast": lambda x, amount: stretched(x),
}
IDENTITY = 1


def randaugment(pictures: Tensor, count: int, magnitude: float, seed: int, index: Tensor) -> Tensor:
    """`count` operations in turn, each drawn anew for each picture, of strength up to `magnitude` in [0, 1]."""
    kinds = IDENTITY + len(MOVES) + len(COLOURS)
    for turn in range(count):
        draws = uniform(fold(seed, turn), index, 2)
        kind = (draws[:, 0] * kinds).long()
        amount = (draws[:, 1] * 2 - 1) * magnitude
        moves = torch.zeros(len(pictures), 2, 3, device=pictures.device)
        moves[:, 0, 0] = moves[:, 1, 1] = 1
        for k, name in enumerate(MOVES, start=IDENTITY):
            moves = torch.where((kind == k)[:, None, None], affine_of(name, amount), moves)
        moving = (kind >= IDENTITY) & (kind < IDENTITY + len(MOVES))
        changed = torch.where(moving[:, None, None, None], affine(pictures, moves), pictures)
        for k, change in enumerate(COLOURS.values(), start=IDENTITY + len(MOVES)):
            chosen = (kind == k)[:, None, None, None]
            changed = torch.where(chosen, change(pictures, amount[:, None, None, None]), changed)
        pictures = changed
    return pictures
