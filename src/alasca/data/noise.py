"""`--noise`: wrong labels made from the labels that a source gives, seeded."""

from __future__ import annotations

from torch import Tensor

from alasca.core import InputError
from alasca.data.seeds import generator
from alasca.functional import symmetric_noise

NOISES = {
    "none": "the labels as they come",
    "symmetric:R": "a share R of the labels is drawn anew from all classes (inclusive, as in the paper)",
    "symmetric-exclusive:R": "a share R of the labels becomes another class",
}


def apply_noise(spec: str, labels: Tensor, num_classes: int, seed: int) -> Tensor:
    """Labels under the noise that `spec` names.

    Args:
        spec: see `NOISES`, such as ``"symmetric:0.6"``.
        labels: ``[N]``, on the CPU.
        num_classes: K.
        seed: of the noise.

    Raises:
        InputError: an unknown kind, or a rate that is no number from 0 to 1.
    """
    kind, _, value = spec.partition(":")
    if spec == "none":
        return labels.clone()
    if kind not in ("symmetric", "symmetric-exclusive"):
        raise InputError(f"noise: {spec!r} is unknown; expected one of {', '.join(NOISES)}")
    try:
        rate = float(value)
    except ValueError:
        raise InputError(f"noise: rate {value!r} in {spec!r} is no number; expected e.g. {kind}:0.6") from None
    if not 0 <= rate <= 1:
        raise InputError(f"noise: rate {value} in {spec!r}; expected a number from 0 to 1, e.g. {kind}:0.6")
    return symmetric_noise(labels, rate, num_classes, kind == "symmetric", generator(seed, "noise"))
