"""`AlascaLoss`: ALASCA's objective (eq. 3) for a training loop of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alasca.audit.evidence import Witnesses, scaled
from alasca.audit.issues import LabelIssues, as_points, judged, positions
from alasca.audit.out_of_sample import Neighbours, fold_numbers
from alasca.core import Output
from alasca.distributed import gather_rows
from alasca.errors import InputError
from alasca.functional import cross_entropy
from alasca.functional.ensembles import log_mean_softmax
from alasca.methods.alasca import AuxiliaryObjective, Smoothing, takes
from alasca.surgery.calls import main_logits


@takes(Smoothing)
class AlascaLoss(nn.Module):
    """ALASCA's loss for a training loop of one's own: ``base(main) + aux_weight * sum over sub-classifiers``.

    Eq. 3 of Ko et al., 2022. Called as ``criterion(output, labels, index, epoch)`` with the `alasca.Output` that
    `alasca.SubClassifiers` returns in training; epochs count from 0. It holds two averages of every sample,
    each ``[N, K]`` in float32, so move it to the device and save it with the network. Given anything but an
    `alasca.Output`, after ``criterion.eval()``, or where gradients are off, it returns the base loss of the main
    logits and leaves the store alone. A step reads no value back from the device.

    It also keeps what the classifiers say of each sample, averaged over the epochs: from that, `label_issues` tells
    which labels are wrong.

    Args:
        num_samples: N; `index` runs from 0 to N - 1.
        num_classes: K.
        base: the main classifier's loss, ``(logits, labels) -> [B]``, or a module that also takes ``index`` and
            ``epoch`` by name.
        aux_weight: lambda, of the *sum* over sub-classifiers.
        **options: see `Smoothing`.

    Raises:
        ValueError: an option out of range; labels or index out of range at the first call.

    >>> criterion = AlascaLoss(num_samples=5, num_classes=3)
    >>> output = Output(torch.zeros(2, 3), aux=(torch.zeros(2, 3),))
    >>> criterion(output, torch.tensor([0, 2]), index=torch.tensor([4, 1]), epoch=0)  # log 3 + 2 log 3
    tensor(3.2958)
    """

    def __init__(
        self,
        num_samples: int,
        num_classes: int,
        base: Callable[..., Tensor] = cross_entropy,
        aux_weight: float = 2.0,
        **options: Any,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes: {num_classes}, expected at least 2")
        if not aux_weight >= 0:
            raise ValueError(f"aux_weight: {aux_weight}, expected at least 0")
        self.num_classes = num_classes
        self.aux_weight = aux_weight
        self.base = base
        call = base.forward if isinstance(base, nn.Module) else base
        self._stateful = {"index", "epoch"} <= inspect.signature(call).parameters.keys()
        smoothing = Smoothing(**options)
        if smoothing.confidence_from == "own":
            raise ValueError("confidence_from: 'own', expected main or a number from 0 to 1; Alasca has it")
        self.objective = AuxiliaryObjective(num_samples, num_classes, 0, smoothing)
        whole = smoothing.store == "float32" and smoothing.store_dir is None
        self.seen = Seen(num_samples, num_classes if whole else 0)
        self._checked = False

    def forward(
        self, output: object, labels: Tensor, index: Tensor | Sequence[int] | None = None, epoch: int | None = None
    ) -> Tensor:  # fmt: skip
        """The mean loss of a batch, a scalar.

        Args:
            output: an `alasca.Output` in training; logits, a tuple or a model-output object elsewhere.
            labels: given labels ``[B]``.
            index: position of each sample in the training set ``[B]``: a tensor, an array or a list.
            epoch: counts from 0.
        """
        logits = main_logits(output, self.num_classes)
        if not isinstance(labels, Tensor):
            labels = torch.as_tensor(labels, device=logits.device)
        if not len(logits):
            aux = output.aux if isinstance(output, Output) else ()
            return logits.sum() + sum(each.sum() for each in aux)  # nothing to learn from: 0
        if not isinstance(output, Output) or not self.training or not torch.is_grad_enabled():
            return self._base(logits, labels, index, epoch)
        if index is None or epoch is None:
            raise ValueError("index, epoch: missing; in training, call criterion(output, labels, index, epoch)")
        if not output.aux:
            raise ValueError("output: no sub-classifiers' logits; wrap the network in SubClassifiers, in train() mode")
        index = as_index(index)
        if not self._checked or not index.is_cuda:
            self._check(logits, labels, index)
        index = index.to(logits.device, torch.int64)
        self.objective.observe(output, labels, index, epoch)
        self.seen.add(index, output, labels)
        targets = self.objective.targets(output, labels, index, epoch)
        auxiliary = self.objective.loss(output.aux, targets).mean()
        return self._base(logits, labels, index, epoch) + self.aux_weight * auxiliary

    def label_issues(
        self, labels: Any, *, features: Any = None, classes: Sequence[Any] | None = None
    ) -> LabelIssues:  # fmt: skip
        """Which of the training set's labels are wrong, from what the training saw of them.

        Without `features` it rests on this training alone, which saw the labels that it judges: the ranking is good,
        the share of wrong labels may come out too low where the network has learned them by heart.

        Args:
            labels: given labels of the training set ``[N]``, in the order of `index`.
            features: numbers in which like samples lie near each other ``[N, D]``, best of another network: what
                neighbours are labelled is asked too.
            classes: names of the K classes; None: 0 to K - 1.

        Returns:
            A frame with a row for every label; see `alasca.LabelIssues`.

        Raises:
            InputError: labels or features that do not fit; a training that has not begun; no features, and a store of
                another kind than ``"float32"`` in memory, beside which there is no average of all classes.

        >>> criterion = AlascaLoss(num_samples=4, num_classes=2)
        >>> logits = torch.tensor([[3.0, 0], [3, 0], [0, 3], [3, 0]])
        >>> output = Output(logits, aux=(logits.clone().requires_grad_(),))
        >>> for epoch in range(6):
        ...     loss = criterion(output, torch.tensor([0, 0, 1, 1]), torch.arange(4), epoch)
        >>> criterion.label_issues([0, 0, 1, 1])["label_quality"].argmin().item()
        3
        """
        if isinstance(labels, Tensor):
            labels = labels.cpu().numpy()
        given, names = positions(labels, range(self.num_classes) if classes is None else classes)
        visits = self.objective.all_stores()[0].visits.to(self.seen.margins.device)
        if len(given) != len(visits) or len(names) != self.num_classes:
            raise InputError(
                f"labels: {len(given)} of {len(names)} classes; expected {len(visits)} of {self.num_classes}, those "
                "that the loss was made for"
            )
        if not bool((visits > 0).any()):
            raise InputError("label_issues: no sample was seen; call the loss in training first")
        near = None
        if features is not None:
            near = Neighbours(as_points(features, len(given)), given >= 0, fold_numbers(len(given)))
        margins = as_array((self.seen.margins / visits.clamp(min=1)).masked_fill(visits == 0, torch.nan))
        averaged = None
        if self.seen.log_probability.shape[1]:
            averaged = as_array((self.seen.log_probability / visits.clamp(min=1)[:, None]).softmax(1))
        elif near is None:
            raise InputError(
                "label_issues: this store keeps no average of all classes; pass features, or store='float32'"
            )
        margin = np.mean([scaled(each) for each in margins], axis=0)

        def ask(targets: np.ndarray) -> Witnesses:
            return Witnesses(margin, features=averaged if near is None else near(targets))

        return judged(given, names, ask, float(visits.float().mean()), averaged, near is None)

    def _base(self, logits: Tensor, labels: Tensor, index: Any, epoch: int | None) -> Tensor:
        if self._stateful:
            return self.base(logits, labels, index=index, epoch=epoch).mean()
        return self.base(logits, labels).mean()

    def _check(self, logits: Tensor, labels: Tensor, index: Tensor) -> None:
        """At the first call, and an index in memory at every call, where that costs nothing."""
        samples = len(self.objective.all_stores()[0].visits)
        if logits.shape[-1] != self.num_classes:
            raise ValueError(f"output: {logits.shape[-1]} classes, expected num_classes={self.num_classes}")
        for name, values, size in (("labels", labels, self.num_classes), ("index", index, samples)):
            if self._checked and name == "labels":
                continue
            if values.shape != logits.shape[:1]:
                raise ValueError(f"{name}: shape {tuple(values.shape)}, expected ({len(logits)},)")
            hint = "" if name == "labels" else ": it counts the training samples; is num_samples how many there are?"
            held = values.detach().cpu().numpy()
            if len(held) and not 0 <= held.min() <= held.max() < size:
                raise ValueError(f"{name}: from {held.min()} to {held.max()}, expected 0 to {size - 1}{hint}")
        self._checked = True


class Seen(nn.Module):
    """Sums over the training visits of each sample.

    Attributes:
        margins: of the given label over the best other one, in log-probability, by the main classifier and by the
            mean of the sub-classifiers ``[2, N]``.
        log_probability: of each class by the main classifier ``[N, K]``; ``[N, 0]`` where that is too much to keep.
    """

    margins: Tensor
    log_probability: Tensor

    def __init__(self, num_samples: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("margins", torch.zeros(2, num_samples))
        self.register_buffer("log_probability", torch.zeros(num_samples, num_classes))

    @torch.no_grad()
    def add(self, index: Tensor, output: Output, labels: Tensor) -> None:
        """Add one visit of each row; rows are gathered over processes, and one that is not finite adds nothing."""
        aux = [logits.detach().float() for logits in output.aux]
        both = torch.stack([output.logits.detach().float().log_softmax(1), log_mean_softmax(aux)])
        given = labels.expand(2, -1)[:, :, None]
        margins = both.gather(2, given)[:, :, 0] - both.scatter(2, given, -torch.inf).amax(2)
        whole = self.log_probability.shape[1]
        rows = torch.cat([margins.t(), both[0]], 1) if whole else margins.t()
        rows = torch.where(rows.isfinite().all(1, keepdim=True), rows, 0)
        rows, index = gather_rows(rows), gather_rows(index)
        self.margins.index_add_(1, index, rows[:, :2].t())
        if whole:
            self.log_probability.index_add_(0, index, rows[:, 2:])


def as_array(values: Tensor) -> np.ndarray:
    """In memory, for NumPy."""
    found: np.ndarray = values.detach().cpu().numpy()
    return found


def as_index(index: object) -> Tensor:
    """Positions of samples as a tensor.

    Raises:
        ValueError: they are no whole numbers.
    """
    try:
        found = index if isinstance(index, Tensor) else torch.from_numpy(np.array(list(index)))  # type: ignore[call-overload]  # what is none is told
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"index: {str(index)[:60]}, expected positions in the training set, whole numbers") from error
    if found.is_floating_point() or found.dtype == torch.bool:
        raise ValueError(f"index: {found.dtype}, expected positions in the training set, whole numbers")
    return found
