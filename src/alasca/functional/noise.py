"""Label noise, made from clean labels. Randomness only from the generator that is passed in."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from alasca.functional.checks import check_unit

CHUNK = 4096


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
    check_labels(labels, num_classes)
    count = round(rate * len(labels))
    chosen = torch.randperm(len(labels), generator=generator)[:count]
    noisy = labels.clone()
    if inclusive:
        noisy[chosen] = torch.randint(num_classes, (count,), generator=generator).to(labels.dtype)
    else:
        shift = torch.randint(1, num_classes, (count,), generator=generator)
        noisy[chosen] = ((labels[chosen].long() + shift) % num_classes).to(labels.dtype)
    return noisy


def asymmetric_noise(
    labels: Int[Tensor, "samples"],
    rate: float,
    mapping: Mapping[int, int],
    sequential: bool = False,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "samples"]:
    """Move a random ``rate`` of each source class's samples to the class that it is confused with.

    Args:
        labels: clean labels, on the CPU.
        rate: share of each source class that is moved, 0 to 1.
        mapping: source class to target class.
        sequential: treat the source classes one after another, by number, on labels that earlier ones have changed
            already: the published numbers of CIFAR-10 come from such code. Where two classes map to each other,
            samples of the first can move there and back: of its samples ``rate (1 - rate)`` end up wrong.
        generator: a CPU generator.

    Raises:
        ValueError: rate outside [0, 1], or a class that maps to itself.

    >>> labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    >>> asymmetric_noise(labels, 0.5, {0: 2}).bincount().tolist()
    [2, 2, 4]
    """
    check_unit("rate", rate)
    if same := [k for k, target in mapping.items() if k == target]:
        raise ValueError(f"mapping: class {same[0]} maps to itself")
    noisy = labels.clone()
    for source in sorted(mapping):
        members = ((noisy if sequential else labels) == source).nonzero()[:, 0]
        moved = members[torch.randperm(len(members), generator=generator)[: round(rate * len(members))]]
        noisy[moved] = mapping[source]
    return noisy


def pair_noise(
    labels: Int[Tensor, "samples"], rate: float, num_classes: int, generator: torch.Generator | None = None
) -> Int[Tensor, "samples"]:
    """Move a random ``rate`` of each class's samples to the next class, the last to the first (Han et al., 2018).

    Args:
        labels: clean labels, on the CPU.
        rate: share that is moved, 0 to 1.
        num_classes: K.
        generator: a CPU generator.

    Raises:
        ValueError: rate outside [0, 1], or labels outside ``[0, K)``.

    >>> pair_noise(torch.tensor([0, 1, 2]), 1.0, 3)
    tensor([1, 2, 0])
    """
    check_labels(labels, num_classes)
    return asymmetric_noise(labels, rate, {k: (k + 1) % num_classes for k in range(num_classes)}, generator=generator)


def matrix_noise(
    labels: Int[Tensor, "samples"], matrix: Float[Tensor, "classes classes"], generator: torch.Generator | None = None
) -> Int[Tensor, "samples"]:
    """Draw each label anew from its class's row of a transition matrix.

    Args:
        labels: clean labels, on the CPU.
        matrix: ``T[i, j]`` is the probability that class i is labelled j.
        generator: a CPU generator.

    Raises:
        ValueError: the matrix is not square, has negative or not finite entries, or rows that do not add up to 1;
            labels outside ``[0, K)``.

    >>> matrix_noise(torch.tensor([0, 1]), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    tensor([1, 0])
    """
    check_matrix(matrix)
    check_labels(labels, len(matrix))
    return drawn(matrix.double()[labels.long()], generator).to(labels.dtype)


def instance_noise(
    inputs: Shaped[Tensor, "samples *shape"],
    labels: Int[Tensor, "samples"],
    rate: float,
    num_classes: int,
    per_class: bool = False,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "samples"]:
    """Noise that depends on the input: sample i keeps its label with probability ``1 - q_i``, else a score decides.

    ``q_i`` is drawn from a normal distribution of mean `rate` and standard deviation 0.1, cut to (0, 1); the new label
    from ``softmax(x_i W)`` without the own class, W standard normal. Inputs are taken as they are: published noise
    comes from pixels of 0 to 255, whose scores are so far apart that the target class is all but certain.

    Args:
        inputs: ``[N, ...]``, any type of number, on the CPU; read a few thousand rows at a time.
        labels: clean labels, on the CPU.
        rate: mean of the flip rates before they are cut, 0 to 1.
        num_classes: K.
        per_class: W is drawn for each clean class (the part-dependent generator of Xia et al., 2020) instead of one W
            for all (the variant of Cheng et al., 2021, which ALASCA uses).
        generator: a CPU generator.

    Raises:
        ValueError: rate outside [0, 1], labels outside ``[0, K)``, or another number of inputs.
    """
    check_unit("rate", rate)
    check_labels(labels, num_classes)
    if len(inputs) != len(labels):
        raise ValueError(f"inputs: {len(inputs)} rows, expected one a label ({len(labels)})")
    flip = cut_normal(len(labels), rate, 0.1, generator)
    width = inputs[:1].numel()
    shape = (num_classes, width, num_classes) if per_class else (1, width, num_classes)
    weights = torch.randn(shape, generator=generator)
    noisy = labels.clone()
    for start in range(0, len(labels), CHUNK):
        rows = slice(start, start + CHUNK)
        own, values = labels[rows].long(), inputs[rows].flatten(1).float()
        scores = values.new_empty(len(own), num_classes)
        for k in sorted(set(own.tolist())) if per_class else [None]:
            members = slice(None) if k is None else own == k
            scores[members] = values[members] @ weights[k or 0]
        chances = scores.scatter(1, own[:, None], -torch.inf).double().softmax(1) * flip[rows, None]
        chances = chances.scatter(1, own[:, None], 1 - flip[rows, None])
        noisy[rows] = drawn(chances, generator).to(labels.dtype)
    return noisy


def cut_normal(count: int, mean: float, std: float, generator: torch.Generator | None) -> Float[Tensor, "count"]:
    """Normal draws conditioned on (0, 1), by drawing again."""
    values = torch.full((count,), -1.0, dtype=torch.float64)
    while len(outside := ((values <= 0) | (values >= 1)).nonzero()[:, 0]):
        values[outside] = mean + std * torch.randn(len(outside), dtype=torch.float64, generator=generator)
    return values


def drawn(chances: Float[Tensor, "samples classes"], generator: torch.Generator | None) -> Int[Tensor, "samples"]:
    """One class for each row of probabilities."""
    below = chances.cumsum(1)
    point = torch.rand(len(chances), 1, dtype=below.dtype, generator=generator) * below[:, -1:]
    return (below <= point).sum(1).clamp(max=chances.shape[1] - 1)


def transition_counts(
    clean: Int[Tensor, "samples"], noisy: Int[Tensor, "samples"], num_classes: int
) -> Int[Tensor, "classes classes"]:
    """How many samples of clean class i (row) are labelled j (column).

    >>> transition_counts(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    pairs = clean.long() * num_classes + noisy.long()
    return pairs.bincount(minlength=num_classes**2).view(num_classes, num_classes)


def majority_vote(
    votes: Int[Tensor, "samples voters"], num_classes: int, generator: torch.Generator | None = None
) -> Int[Tensor, "samples"]:
    """The class that most voters name, ties broken at random: weak labels from labelling functions.

    Args:
        votes: one column a voter; -1 where it abstains.
        num_classes: K.
        generator: a CPU generator, for ties.

    Returns:
        Labels ``[N]``; -1 where all abstain.

    Raises:
        ValueError: a vote below -1 or above ``K - 1``.

    >>> majority_vote(torch.tensor([[0, 0, 1], [-1, 1, -1], [-1, -1, -1]]), 2)
    tensor([ 0,  1, -1])
    """
    if votes.numel() and not -1 <= int(votes.min()) <= int(votes.max()) < num_classes:
        raise ValueError(f"votes: from {int(votes.min())} to {int(votes.max())}, expected -1 to {num_classes - 1}")
    counts = torch.zeros(len(votes), num_classes + 1, dtype=torch.float64)
    counts.scatter_add_(1, votes.long() + 1, torch.ones_like(votes, dtype=torch.float64))
    counts = counts[:, 1:]
    tied = torch.rand(counts.shape, dtype=torch.float64, generator=generator) / 2
    return torch.where(counts.sum(1) > 0, (counts + tied).argmax(1), -1)


def check_matrix(matrix: Tensor) -> None:
    """Raise `ValueError` unless it is square, without negative entries, and its rows add up to 1."""
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(f"matrix: shape {list(matrix.shape)}, expected [K, K]")
    if not bool(matrix.isfinite().all()) or bool((matrix < 0).any()):
        row = int((~matrix.isfinite() | (matrix < 0)).any(1).nonzero()[0])
        raise ValueError(f"matrix: row {row} has an entry that is negative or not finite")
    away = (matrix.double().sum(1) - 1).abs()
    if bool((away > 1e-4).any()):
        row = int(away.argmax())
        raise ValueError(f"matrix: row {row} adds up to {float(matrix[row].sum()):.6g}, expected 1")


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Raise `ValueError` unless labels are from 0 to K - 1, and K at least 2."""
    if num_classes < 2:
        raise ValueError(f"num_classes: {num_classes}, expected at least 2")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(f"labels: outside 0..{num_classes - 1}")
