"""Label noise, made from clean labels. Randomness only from the generator that is passed in."""

import torch
from jaxtyping import Int
from torch import Tensor

from alasca.functional.checks import check_unit


def symmetric_noise(
    labels: Int[Tensor, "samples"],
    rate: float,
    num_classes: int,
    inclusive: bool = True,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "samples"]:
    """Replace the labels of a random ``rate`` of the samples by uniformly drawn ones.

    Args:
        labels: clean labels, on the CPU.
        rate: share of samples that are redrawn, 0 to 1.
        num_classes: K.
        inclusive: the new label may be the old one, so that ``rate (K - 1) / K`` of the labels change (the
            convention of ELR, DivideMix and ALASCA). Otherwise it is another class, and `rate` change.
        generator: a CPU generator.

    Raises:
        ValueError: rate outside [0, 1], or labels outside ``[0, K)``.

    >>> labels, seeded = torch.zeros(1000, dtype=torch.int64), torch.Generator().manual_seed(0)
    >>> noisy = symmetric_noise(labels, 0.5, 10, generator=seeded)
    >>> 0.4 < noisy.ne(0).float().mean() < 0.5
    tensor(True)
    """
    check_unit("rate", rate)
    if num_classes < 2:
        raise ValueError(f"num_classes: {num_classes}, expected at least 2")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(f"labels: outside 0..{num_classes - 1}")
    count = round(rate * len(labels))
    chosen = torch.randperm(len(labels), generator=generator)[:count]
    noisy = labels.clone()
    if inclusive:
        noisy[chosen] = torch.randint(num_classes, (count,), generator=generator).to(labels.dtype)
    else:
        shift = torch.randint(1, num_classes, (count,), generator=generator)
        noisy[chosen] = ((labels[chosen].long() + shift) % num_classes).to(labels.dtype)
    return noisy
