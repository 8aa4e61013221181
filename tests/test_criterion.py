"""AlascaLoss: the objective by hand, what a step costs, and loops of one's own."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import alasca.functional as AF
from alasca import AlascaLoss, InputError, Output, SubClassifiers
from alasca.methods.alasca import AuxiliaryObjective, Smoothing
from alasca.networks.small import Perceptron, SmallResNet
from test_surgery import Encoder


class Operators(TorchDispatchMode):
    """Counts operators, and those that wait for a device: reading a value, shapes that depend on data."""

    WAITS = ("_local_scalar_dense", "nonzero", "item", "masked_select", "_unique", "unique", "equal", "is_nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.shapes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.count[name] += 1
        if name in ("index", "index_put_"):
            indices = args[1]
            if any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices):
                self.count["nonzero"] += 1
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and name not in ("view", "expand", "unsqueeze", "slice", "alias", "detach", "t"):
            self.shapes.append(tuple(result.shape))
        return result

    @property
    def waits(self) -> dict[str, int]:
        return {name: self.count[name] for name in self.WAITS if self.count[name]}


def output_of(rows: int = 4, classes: int = 3, heads: int = 2, seed: int = 0) -> Output:
    draw = torch.Generator().manual_seed(seed)
    tensors = [torch.randn(rows, classes, generator=draw).requires_grad_() for _ in range(heads + 1)]
    return Output(tensors[0], aux=tuple(tensors[1:]))


def test_the_objective_by_hand():
    """Eq. 3 with two sub-classifiers: base + 2 * sum_i CE(q^i, gamma e_y + (1 - gamma) / K), gamma after the update."""
    output, labels, index = output_of(), torch.tensor([0, 2, 1, 1]), torch.tensor([3, 0, 7, 5])
    criterion = AlascaLoss(8, 3)
    found = criterion(output, labels, index, 0)
    gamma = (3.0 * 0.3 * output.logits).softmax(1).gather(1, labels[:, None]).detach()
    target = gamma * torch.eye(3)[labels] + (1 - gamma) / 3
    auxiliary = sum(-(target * q.log_softmax(1)).sum(1).mean() for q in output.aux)
    expected = nn.functional.cross_entropy(output.logits, labels) + 2.0 * auxiliary
    torch.testing.assert_close(found, expected)
    gradients = torch.autograd.grad(found, (output.logits, *output.aux))
    by_hand = torch.autograd.grad(expected, (output.logits, *output.aux))
    for first, second in zip(gradients, by_hand, strict=True):
        torch.testing.assert_close(first, second)


def test_labels_are_corrected_from_the_warmup_epoch_on():
    main = torch.tensor([[0.0, 5.0, 0.0]])
    output = Output(main, aux=(torch.zeros(1, 3).requires_grad_(), torch.tensor([[0.0, 4.0, 0.0]]).requires_grad_()))
    labels, index = torch.tensor([0]), torch.tensor([0])
    objective = AuxiliaryObjective(1, 3, 0, Smoothing(warmup=20))
    objective.observe(output, labels, index, 19)
    assert objective.targets(output, labels, index, 19).labels.item() == 0
    corrected = objective.targets(output, labels, index, 20)
    assert corrected.labels.item() == 1
    torch.testing.assert_close(corrected.confidence, AF.confidence(0.3 * main, torch.tensor([1])))
    assert AuxiliaryObjective(1, 3, 0, Smoothing(warmup=None)).targets(output, labels, index, 99).labels.item() == 0
    both = AuxiliaryObjective(1, 3, 0, Smoothing(warmup=0, agreement="all"))
    assert both.targets(output, labels, index, 0).labels.item() == 0, "the shallow one does not agree"


def test_options_act():
    output, labels, index = output_of(), torch.tensor([0, 2, 1, 1]), torch.arange(4)
    base = AF.cross_entropy(output.logits, labels).mean()

    def penalty(epoch: int = 0, **options) -> float:
        return (AlascaLoss(4, 3, aux_weight=1.0, **options)(output, labels, index, epoch) - base).item()

    def with_gamma(gamma: Tensor, off_target: str = "uniform") -> float:
        return sum(AF.smoothed_cross_entropy(q, labels, gamma, off_target).mean().item() for q in output.aux)

    instant = AF.confidence(output.logits, labels, 1.0)
    assert penalty(momentum=0.0, temperature=1.0) == pytest.approx(with_gamma(instant), rel=1e-5)
    assert penalty(momentum=0.0, temperature=1.0, off_target="others") == pytest.approx(
        with_gamma(instant, "others"), rel=1e-5
    )
    ema = AF.confidence(0.3 * output.logits, labels)
    assert penalty() == pytest.approx(with_gamma(ema), rel=1e-5)
    assert penalty(5, ramp=("mix", 0.0, 1.0, 10)) == pytest.approx(with_gamma(0.5 * ema + 0.5), rel=1e-5)
    assert penalty(5, ramp=("cap", 0.1, 0.7, 10)) == pytest.approx(with_gamma(ema.clamp(max=0.4)), rel=1e-5)
    assert penalty(5, momentum=(0.1, 0.7, 10)) == pytest.approx(
        with_gamma(AF.confidence(0.6 * output.logits, labels)), rel=1e-5
    )
    own = AuxiliaryObjective(4, 3, 2, Smoothing(momentum=0.0, temperature=1.0, confidence_from="own"))
    own.observe(output, labels, index, 0)
    gammas = torch.stack([AF.confidence(q, labels, 1.0) for q in output.aux])
    torch.testing.assert_close(own.targets(output, labels, index, 0).confidence, gammas)


def test_weight_zero_gives_the_base_loss_and_no_gradient_to_heads():
    output, labels = output_of(), torch.tensor([0, 2, 1, 1])
    loss = AlascaLoss(4, 3, aux_weight=0.0)(output, labels, torch.arange(4), 0)
    assert loss.item() == AF.cross_entropy(output.logits, labels).mean().item()
    assert all(g.abs().max() == 0 for g in torch.autograd.grad(loss, output.aux))


def test_evaluation_returns_the_base_loss_and_leaves_the_store_alone():
    output, labels, index = output_of(), torch.tensor([0, 2, 1, 1]), torch.arange(4)
    criterion = AlascaLoss(4, 3)
    base = AF.cross_entropy(output.logits, labels).mean()
    with torch.no_grad():
        assert criterion(output, labels, index, 0) == base
    assert criterion(output.logits, labels) == base
    assert criterion({"logits": output.logits}, labels) == base
    assert criterion.eval()(output, labels, index, 0) == base
    assert criterion.objective.stores[0].visits.sum() == 0
    assert criterion.train()(output, labels, index, 0) != base
    assert criterion.objective.stores[0].visits.sum() == 4


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[list[int], int]] = []

    def forward(self, logits: Tensor, labels: Tensor, index: Tensor, epoch: int) -> Tensor:
        self.calls.append((index.tolist(), epoch))
        return AF.cross_entropy(logits, labels)


def test_a_stateful_base_gets_index_and_epoch():
    base = Stateful()
    AlascaLoss(9, 3, base=base)(output_of(), torch.tensor([0, 2, 1, 1]), torch.tensor([8, 2, 3, 1]), 5)
    assert base.calls == [([8, 2, 3, 1], 5)]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: c(output_of(), torch.tensor([0, 2, 1, 3]), torch.arange(4), 0), "labels: from 0 to 3"),
        (lambda c: c(output_of(), torch.tensor([0, 2, 1, -1]), torch.arange(4), 0), "labels: from -1"),
        (lambda c: c(output_of(), torch.tensor([0, 2, 1, 1]), torch.arange(1, 5) * 2, 0), "index: from 2 to 8"),
        (lambda c: c(output_of(), torch.tensor([0, 2, 1]), torch.arange(4), 0), "labels: shape"),
        (lambda c: c(output_of(), torch.tensor([0, 2, 1, 1])), "index, epoch: missing"),
        (lambda c: c(output_of(heads=0), torch.tensor([0, 2, 1, 1]), torch.arange(4), 0), "sub-classifiers"),
        (lambda c: c(output_of(classes=5), torch.tensor([0, 2, 1, 1]), torch.arange(4), 0), "5 classes"),
        (lambda c: AlascaLoss(4, 1), "num_classes"),
        (lambda c: AlascaLoss(4, 3, aux_weight=-1), "aux_weight"),
        (lambda c: AlascaLoss(4, 3, momentum=1.0), "momentum"),
        (lambda c: AlascaLoss(4, 3, temperature=0), "temperature"),
        (lambda c: AlascaLoss(4, 3, warmup=-1), "warmup"),
        (lambda c: AlascaLoss(4, 3, off_target="none"), "off_target"),
        (lambda c: AlascaLoss(4, 3, agreement="any"), "agreement"),
        (lambda c: AlascaLoss(4, 3, ramp=("up", 0, 1, 3)), "ramp"),
        (lambda c: AlascaLoss(0, 3), "num_samples"),
    ],
)
def test_errors_name_the_argument(call, words: str):
    with pytest.raises(ValueError, match=words):
        call(AlascaLoss(8, 3))


def test_a_step_never_waits_and_builds_no_target():
    """After its first call: no value is read back, no [B, K] target is built; the one scatter hides given labels."""
    rows, classes = 4, 11
    criterion = AlascaLoss(50, classes, warmup=1)
    output = output_of(rows, classes, 3)
    labels, index = torch.arange(rows), torch.arange(rows) + 7
    criterion(output, labels, index, 3)
    with Operators() as seen:
        loss = criterion(output, labels, index, 3)
        torch.autograd.backward(loss)
    assert seen.waits == {}
    assert not {"one_hot", "eye"} & seen.count.keys()
    assert seen.count["scatter"] == 1
    floats = [shape for shape in seen.shapes if shape[-1:] == (classes,)]
    assert (3, rows, classes) in floats, "sub-classifiers are stacked"


def test_extra_operators_of_a_step():
    """The README states this number: operators of an ALASCA step on three sub-classifiers over cross-entropy's."""
    net = SmallResNet(3, 10)
    wrapped = SubClassifiers(SmallResNet(3, 10), num_classes=10, example=torch.zeros(2, 3, 16, 16))
    criterion = AlascaLoss(50, 10, warmup=1)
    x, labels, index = torch.randn(8, 3, 16, 16), torch.arange(8), torch.arange(8)
    criterion(wrapped(x), labels, index, 3)
    output = wrapped(x)
    with Operators() as plain:
        torch.autograd.backward(AF.cross_entropy(net(x), labels).mean())
    with Operators() as loss_only:
        criterion(output, labels, index, 3)
    with Operators() as whole:
        torch.autograd.backward(criterion(wrapped(x), labels, index, 3))
    assert whole.waits == {}
    assert loss_only.count.total() <= 100
    print(f"\nloss: {loss_only.count.total()}, step: {whole.count.total()} against {plain.count.total()}")
    assert whole.count.total() - plain.count.total() <= 280


def own_loop(net: nn.Module, x: Tensor, labels: Tensor, classes: int, epochs: int, lr: float) -> tuple[float, float]:
    """A loop of one's own, as in the README; returns the first and the last epoch's loss, then checks accuracy."""
    net = SubClassifiers(net, num_classes=classes, example=x[:2])
    criterion = AlascaLoss(num_samples=len(x), num_classes=classes, warmup=epochs // 2)
    optimizer = torch.optim.AdamW(net.parameters(), lr)
    losses = []
    for epoch in range(epochs):
        for index in torch.randperm(len(x)).split(16):
            loss = criterion(net(x[index]), labels[index], index, epoch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    net.eval()
    with torch.no_grad():
        accuracy = (net(x).argmax(1) == labels).double().mean().item()
    return accuracy, losses[-1] / losses[0]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_own_loop_with_a_transformer():
    torch.manual_seed(0)
    labels = torch.arange(64) % 3
    x = torch.randint(10, (64, 7)) + 3 * labels[:, None]
    accuracy, ratio = own_loop(Encoder(), x, labels, 3, 14, 3e-3)
    assert accuracy > 0.9
    assert ratio < 0.6


def test_own_loop_with_a_perceptron():
    torch.manual_seed(0)
    labels = torch.arange(96) % 4
    x = torch.randn(96, 6) + 3 * torch.randn(4, 6)[labels]
    accuracy, ratio = own_loop(Perceptron(6, 4), x, labels, 4, 10, 3e-3)
    assert accuracy > 0.9
    assert ratio < 0.7


def test_own_loop_with_a_torchvision_resnet():
    torch.manual_seed(0)
    labels = torch.arange(48) % 3
    x = 0.5 * torch.randn(48, 3, 32, 32) + torch.randn(3, 3, 1, 1)[labels]
    accuracy, ratio = own_loop(torchvision.models.resnet18(num_classes=3), x, labels, 3, 6, 1e-3)
    assert accuracy > 0.9
    assert ratio < 0.7


def test_the_index_may_be_of_any_whole_type():
    output, labels = output_of(), torch.tensor([0, 2, 1, 1])
    criteria = AlascaLoss(8, 3), AlascaLoss(8, 3)
    first = criteria[0](output, labels, torch.tensor([3, 0, 7, 5]), 0)
    second = criteria[1](output, labels, torch.tensor([3, 0, 7, 5], dtype=torch.int32), 0)
    assert torch.equal(first, second)


def test_what_was_seen_by_hand():
    """Sums of margins by both kinds of classifier, and of the main classifier's log-probabilities."""
    criterion, labels, index = AlascaLoss(6, 3), torch.tensor([0, 2, 1, 1]), torch.tensor([3, 0, 5, 2])
    visits = [output_of(seed=1), output_of(seed=2)]
    for epoch, output in enumerate(visits):
        criterion(output, labels, index, epoch)
    expected, total = torch.zeros(2, 6), torch.zeros(6, 3)
    for output in visits:
        mean = torch.stack([q.softmax(1) for q in output.aux]).mean(0)
        for k, log_p in enumerate((output.logits.log_softmax(1), mean.log())):
            for row, (label, position) in enumerate(zip(labels.tolist(), index.tolist(), strict=True)):
                others = [log_p[row, j] for j in range(3) if j != label]
                expected[k, position] += (log_p[row, label] - max(others)).detach()
        total[index] += output.logits.log_softmax(1).detach()
    torch.testing.assert_close(criterion.seen.margins, expected)
    torch.testing.assert_close(criterion.seen.log_probability, total)
    criterion.eval()
    criterion(visits[0], labels, index, 2)
    with torch.no_grad():
        criterion.train()(visits[0], labels, index, 2)
    torch.testing.assert_close(criterion.seen.margins, expected)
    assert torch.equal(AlascaLoss(6, 3, store="float16").seen.log_probability, torch.zeros(6, 0))
    for value, at in ((torch.nan, slice(None)), (-torch.inf, 1)):
        before = criterion.seen.log_probability[index[0]].clone(), criterion.seen.margins[:, index[0]].clone()
        broken = output_of(seed=1)
        broken.logits.data[0, at] = value
        criterion(broken, labels, index, 3)  # such a row adds nothing, as in the store
        assert torch.equal(criterion.seen.log_probability[index[0]], before[0])
        assert torch.equal(criterion.seen.margins[:, index[0]], before[1])
    assert criterion.seen.margins.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_logits_of_any_precision(dtype: torch.dtype):
    whole = output_of()
    output = Output(whole.logits.detach().to(dtype).requires_grad_(), aux=tuple(q.to(dtype) for q in whole.aux))
    criterion = AlascaLoss(8, 3)
    loss = criterion(output, torch.tensor([0, 2, 1, 1]), torch.tensor([3, 0, 7, 5]), 0)
    loss.backward()
    assert loss.isfinite()
    assert criterion.seen.margins.abs().sum() > 0


def trained_loss(labels: Tensor, true: Tensor, epochs: int = 8, **options) -> AlascaLoss:
    """A loss that saw a network which believes the true labels more than the given ones."""
    count, classes = len(labels), 4
    criterion = AlascaLoss(count, classes, **options)
    draw = torch.Generator().manual_seed(0)
    for epoch in range(epochs):
        for rows in torch.randperm(count, generator=draw).split(50):
            logits = torch.randn(len(rows), classes, generator=draw) + 4 * torch.eye(classes)[true[rows]]
            logits += (1 + epoch / 4) * torch.eye(classes)[labels[rows]]
            aux = (logits + torch.randn(len(rows), classes, generator=draw)).requires_grad_()
            criterion(Output(logits, aux=(aux,)), labels[rows], rows, epoch)
    return criterion


def planted(share: float = 0.2, count: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Which labels are wrong, the labels, the true ones."""
    draw = torch.Generator().manual_seed(1)
    true = torch.arange(count) % 4
    wrong = torch.rand(count, generator=draw) < share
    return wrong, torch.where(wrong, (true + 1 + torch.arange(count) // 4 % 3) % 4, true), true


def test_a_loop_of_ones_own_knows_its_wrong_labels():
    wrong, labels, true = planted()
    criterion = trained_loss(labels, true)
    found = criterion.label_issues(labels)
    assert list(found)[:4] == ["is_label_issue", "label_quality", "given_label", "predicted_label"]
    assert found.attrs["wrong_share"] == pytest.approx(float(wrong.float().mean()), abs=0.04)
    assert (found.as_mask() == wrong.numpy()).mean() > 0.97
    fix = (found["decision"] == "fix").to_numpy()
    assert fix.sum() > 0.6 * int(wrong.sum())
    assert (found["suggested_label"].to_numpy()[fix] == true.numpy()[fix]).mean() > 0.95
    named = criterion.label_issues([f"class {k}" for k in labels.tolist()], classes=[f"class {k}" for k in range(4)])
    assert named["suggested_label"].tolist() == [f"class {k}" for k in found["suggested_label"]]
    points = torch.eye(4)[true] + 0.1 * torch.randn(len(true), 4, generator=torch.Generator().manual_seed(2))
    assert (criterion.label_issues(labels, features=points).as_mask() == wrong.numpy()).mean() > 0.97
    half = trained_loss(labels, true, store="float16")
    assert (half.label_issues(labels, features=points).as_mask() == wrong.numpy()).mean() > 0.97
    with pytest.raises(InputError, match="pass features, or store='float32'"):
        half.label_issues(labels)


def test_clean_labels_and_short_trainings_change_nothing():
    _, labels, true = planted()
    clean = trained_loss(true, true).label_issues(true)
    assert clean.as_mask().mean() < 0.02
    assert not (clean["decision"] == "fix").any()
    short = trained_loss(labels, true, epochs=2).label_issues(labels)
    assert not (short["decision"] == "fix").any()
    assert any("2 times" in line for line in short.attrs["findings"])
    criterion = AlascaLoss(400, 4)
    with pytest.raises(InputError, match="no sample was seen"):
        criterion.label_issues(labels)
    with pytest.raises(InputError, match="399 of 4 classes; expected 400 of 4"):
        criterion.label_issues(labels[1:])
