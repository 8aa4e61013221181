"""What a sub-classifier is asked to learn: confidence, agreement, and schedules (appendix C of Ko et al., 2022)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from alasca.functional.checks import check_above, check_logits, check_unit, pick
from alasca.functional.losses import log_probabilities

AGREEMENTS = ("deepest", "all")


def confidence(
    ema_logits: Float[Tensor, "*heads batch classes"], labels: Int[Tensor, "batch"], temperature: float = 3.0
) -> Float[Tensor, "*heads batch"]:
    """``gamma = softmax(tau * z)_y``: how sure averaged logits are of a label (C.2). Carries no gradient.

    Args:
        ema_logits: averaged logits z.
        labels: the label asked about.
        temperature: tau, which multiplies: the figures and the formula of the paper sharpen.

    >>> confidence(torch.tensor([[0.6, 0.0, -0.3]]), torch.tensor([0]))
    tensor([0.8114])
    """
    check_logits(ema_logits, labels)
    return pick(log_probabilities(temperature * ema_logits.detach()), labels).exp()


def agreed_labels(
    labels: Int[Tensor, "batch"],
    main_logits: Float[Tensor, "batch classes"],
    aux_logits: tuple[Tensor, ...],
    agreement: str = "deepest",
) -> Int[Tensor, "batch"]:
    """The main classifier's class where sub-classifiers agree with it, else the given label (C.3).

    Args:
        labels: given labels.
        main_logits: the main classifier's.
        aux_logits: one ``[B, K]`` a sub-classifier, shallow to deep.
        agreement: ``"deepest"`` asks the deepest sub-classifier only, ``"all"`` every one.

    >>> main, deepest = torch.eye(3)[[1, 1, 0]], torch.eye(3)[[1, 2, 0]]
    >>> agreed_labels(torch.zeros(3, dtype=torch.int64), main, (deepest,))
    tensor([1, 0, 0])
    """
    check_logits(main_logits, labels)
    if not aux_logits:
        raise ValueError("aux_logits: empty, expected the logits of at least one sub-classifier")
    if agreement not in AGREEMENTS:
        raise ValueError(f"agreement: {agreement!r}, expected one of {', '.join(AGREEMENTS)}")
    main = main_logits.argmax(-1)
    agree = aux_logits[-1].argmax(-1) == main
    for logits in aux_logits[:-1] if agreement == "all" else ():
        agree = agree & (logits.argmax(-1) == main)
    return torch.where(agree, main, labels)


def linear_ramp(start: float, end: float, epochs: float, epoch: float) -> float:
    """From `start` at epoch 0 to `end` at epoch `epochs`, then constant.

    >>> [round(linear_ramp(0.1, 0.7, 60, epoch), 3) for epoch in (0, 30, 60, 90)]
    [0.1, 0.4, 0.7, 0.7]
    """
    if epochs <= 0:
        return end
    return start + (end - start) * min(max(epoch / epochs, 0.0), 1.0)


def ramped_confidence(gamma: Tensor, ramp: tuple[str, float, float, float] | None, epoch: int) -> Tensor:
    """Confidence under a schedule (the alpha of D.1.2, whose reading is open).

    ``("mix", start, end, epochs)``: ``r gamma + (1 - r)``; ``("cap", start, end, epochs)``: ``min(gamma, r)``,
    with r rising linearly from `start` to `end`; None leaves it alone.
    """
    if ramp is None:
        return gamma
    kind, start, end, epochs = ramp
    r = linear_ramp(start, end, epochs, epoch)
    return r * gamma + (1 - r) if kind == "mix" else gamma.clamp(max=r)


def check_ramp(ramp: tuple[str, float, float, float] | None) -> None:
    """Raise `ValueError` unless `ramp` is None or ``("mix" | "cap", start, end, epochs)``."""
    if ramp is None:
        return
    if len(ramp) != 4 or ramp[0] not in ("mix", "cap") or not all(isinstance(v, (int, float)) for v in ramp[1:]):
        raise ValueError(f'ramp: {ramp!r}, expected None or ("mix" | "cap", start, end, epochs)')
    check_unit("ramp start", ramp[1])
    check_unit("ramp end", ramp[2])


def check_momentum(momentum: float | tuple[float, float, float]) -> None:
    """Raise `ValueError` unless `momentum` is in [0, 1) or ``(start, end, epochs)`` of such."""
    parts = momentum if isinstance(momentum, tuple) else (momentum,)
    if len(parts) != (3 if isinstance(momentum, tuple) else 1) or not all(
        isinstance(value, (int, float)) for value in parts
    ):
        raise ValueError(f"momentum: {momentum!r}, expected a number or (start, end, epochs)")
    ends = parts[:2]
    if not all(0 <= value < 1 for value in ends):
        raise ValueError(f"momentum: {momentum!r}, expected at least 0 and below 1")


def sharpen(p: Float[Tensor, "batch classes"], temperature: float) -> Float[Tensor, "batch classes"]:
    """``p^(1/T) / sum p^(1/T)``: the surer, the lower T.

    >>> sharpen(torch.tensor([[0.7, 0.2, 0.1]]), 0.5)
    tensor([[0.9074, 0.0741, 0.0185]])
    """
    check_above("temperature", temperature, 0.0)
    return (p.clamp(min=torch.finfo(p.dtype).tiny).log() / temperature).softmax(-1)


def from_uniform(probabilities: Float[Tensor, "batch classes"]) -> Float[Tensor, ""]:
    """``KL(uniform || mean prediction)``: 0 where classes are predicted equally often (DivideMix's regulariser).

    >>> from_uniform(torch.eye(4)) == 0
    tensor(True)
    """
    mean = probabilities.mean(0)
    return -(mean * len(mean)).clamp(min=1e-12).log().mean()


def one_hot(labels: Int[Tensor, "batch"], like: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """The labels as distributions, in the shape and type of `like`; waits for no device."""
    return torch.zeros_like(like).scatter_(1, labels[:, None], 1.0)


def mixing_weight(
    a: float, b: float, upper: bool = False, generator: torch.Generator | None = None
) -> Float[Tensor, ""]:
    """One draw of Beta(a, b), on the CPU; computed in float64, where small a and b do not underflow from 0.01 on.

    Args:
        a, b: above 0.
        upper: the larger of the draw and 1 less the draw.
        generator: default: torch's default one.
    """
    both = torch.tensor([a, b], dtype=torch.float64)
    lam = torch._sample_dirichlet(both, generator)
    return (lam.max() if upper else lam[0]).float()


def mix(
    values: Float[Tensor, "batch ..."], order: Int[Tensor, "batch"], lam: Float[Tensor, ""]
) -> Float[Tensor, "batch ..."]:
    """``lam * values + (1 - lam) * values[order]``."""
    return torch.lerp(values[order], values, lam.to(values))
