"""Sub-classifiers on networks of every shape, attached by name, removed without a trace."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from alasca import Output, SubClassifiers
from alasca.core import Batch
from alasca.networks.small import Perceptron, SmallResNet
from alasca.surgery import OutputNet, plain_forward, quiet_batchnorm, quiet_forward, recompute_maps


class Encoder(nn.Module):
    """A transformer encoder on token ids."""

    def __init__(self, layers: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.classifier = nn.Linear(16, 3)

    def forward(self, tokens: Tensor, src_key_padding_mask: Tensor | None = None) -> Tensor:
        hidden = self.encoder(self.embed(tokens), src_key_padding_mask=src_key_padding_mask)
        return self.classifier(hidden.mean(1))


class Recurrent(nn.Module):
    """An LSTM, whose module returns a tuple, behind a model-output object."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 8, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.classifier = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        hidden, _ = self.lstm(x)
        return OrderedDict(logits=self.classifier(self.norm(hidden).mean(1)))


def picture_net() -> nn.Module:
    return SmallResNet(3, 10)


@pytest.mark.parametrize("head", ["bottleneck", "pooled", "linear"])
@pytest.mark.parametrize(
    ("make", "example", "at", "classes"),
    [
        (picture_net, torch.randn(4, 3, 16, 16), None, 10),
        (lambda: Perceptron(6, 3), torch.randn(4, 6), None, 3),
        (Encoder, torch.randint(20, (4, 7)), None, 3),
        (Recurrent, torch.randn(4, 5, 4), ["lstm"], 3),
    ],
)
def test_any_network(make, example: Tensor, at, classes: int, head: str):
    net = SubClassifiers(make(), at, num_classes=classes, example=example, head=head)
    output = net(example)
    assert isinstance(output, Output)
    assert output.logits.shape == (4, classes)
    assert [aux.shape for aux in output.aux] == [(4, classes)] * len(net.places)
    assert output.feature is not None
    assert output.feature.shape == (4, net.classifier.in_features)
    torch.testing.assert_close(net.classifier(output.feature), output.logits)
    torch.autograd.backward(sum(aux.sum() for aux in output.aux))
    first = next(net.backbone.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0, "sub-classifiers do not reach the first layer"
    assert not isinstance(net.eval()(example), Output)


@pytest.mark.parametrize(
    ("make", "size", "places"),
    [
        (torchvision.models.resnet18, 64, ["layer1", "layer2", "layer3"]),
        (torchvision.models.densenet121, 64, ["features.denseblock1", "features.denseblock2", "features.denseblock3"]),
        (torchvision.models.convnext_tiny, 64, ["features.1", "features.3", "features.5"]),
        (torchvision.models.swin_t, 224, ["features.1", "features.3", "features.5"]),
        (torchvision.models.vit_b_32, 224, [f"encoder.layers.encoder_layer_{k}" for k in (2, 5, 8)]),
        (torchvision.models.efficientnet_b0, 64, ["features.2", "features.3", "features.5"]),
    ],
)
def test_places_of_known_networks(make, size: int, places: list[str]):
    net = SubClassifiers(make(weights=None, num_classes=7), num_classes=7, example=torch.zeros(2, 3, size, size))
    assert net.places == places
    assert [aux.shape for aux in net(torch.randn(2, 3, size, size)).aux] == [(2, 7)] * 3


def test_the_papers_bottleneck():
    """C.4 on a CIFAR-like network: 1x1 to a quarter, kxk of stride k (4, 2), 1x1, pool, linear."""
    net = SubClassifiers(picture_net(), num_classes=10, example=torch.zeros(2, 3, 32, 32))
    shapes = [[tuple(m.weight.shape) for m in b.modules() if isinstance(m, nn.Conv2d)] for b in net.branches]
    assert shapes == [
        [(32, 32, 1, 1), (32, 32, 4, 4), (128, 32, 1, 1)],
        [(32, 64, 1, 1), (32, 32, 2, 2), (128, 32, 1, 1)],
    ]


def test_attaching_and_removing_leaves_the_backbone_bit_for_bit():
    torch.manual_seed(0)
    plain = picture_net()
    twin = copy.deepcopy(plain)
    state, keys = torch.get_rng_state(), set(plain.state_dict())
    net = SubClassifiers(plain, num_classes=10, example=torch.randn(2, 3, 16, 16, generator=torch.Generator()))
    assert torch.equal(torch.get_rng_state(), state), "building heads moved the random state"
    assert plain.training
    removed = net.remove()
    assert removed is plain
    assert set(plain.state_dict()) == keys
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in plain.modules())
    for name, value in twin.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name]), name
    x = torch.randn(4, 3, 16, 16)
    assert torch.equal(twin(x), plain(x))


def test_heads_do_not_disturb_the_main_path():
    torch.manual_seed(0)
    plain = picture_net()
    net = SubClassifiers(copy.deepcopy(plain), num_classes=10, example=torch.zeros(2, 3, 16, 16))
    x = torch.randn(8, 3, 16, 16)
    assert torch.equal(plain(x), net(x).logits)
    for (name, value), other in zip(plain.named_buffers(), net.backbone.buffers(), strict=True):
        assert torch.equal(value, other), name


def test_same_seed_same_heads_on_any_state():
    example = torch.zeros(2, 3, 16, 16)
    heads = []
    for seed in (1, 1, 2):
        torch.randn(seed + len(heads))
        net = SubClassifiers(picture_net(), num_classes=10, example=example, seed=seed)
        heads.append(torch.cat([p.flatten() for p in net.branches.parameters()]))
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_tensors_that_are_overwritten_in_place_are_cloned():
    net = nn.Sequential(
        OrderedDict(conv=nn.Conv2d(3, 8, 3), norm=nn.BatchNorm2d(8), relu=nn.ReLU(inplace=True), flat=nn.Flatten(),
                    out=nn.Linear(8 * 36, 5))
    )  # fmt: skip
    wrapped = SubClassifiers(net, ["norm"], num_classes=5, example=torch.zeros(2, 3, 8, 8))
    assert [branch.overwritten for branch in wrapped.branches] == [True]
    output = wrapped(torch.randn(4, 3, 8, 8))
    torch.autograd.backward(output.logits.sum() + output.aux[0].sum())


def test_padded_positions_do_not_count():
    net = SubClassifiers(Encoder(2).eval(), ["embed"], num_classes=3, example=torch.zeros(2, 6, dtype=torch.int64))
    tokens = torch.randint(20, (3, 6))
    padding = torch.zeros(3, 6, dtype=torch.bool)
    padding[:, 4:] = True
    net.train()
    changed = tokens.clone()
    changed[:, 4:] = 7
    (first,) = net(tokens, src_key_padding_mask=padding).aux
    (second,) = net(changed, src_key_padding_mask=padding).aux
    torch.testing.assert_close(first, second)
    assert not torch.allclose(first, net(changed).aux[0])


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(self.layer(x)))


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (["layer9"], "did you mean 'layer"),
        (["zzz"], "no module 'zzz'"),
        ([], "empty"),
    ],
)
def test_wrong_places_are_named(at: list[str], words: str):
    net = nn.Sequential(OrderedDict(layer1=nn.Linear(4, 4), layer2=nn.ReLU(), layer3=nn.Linear(4, 2)))
    with pytest.raises(ValueError, match=words):
        SubClassifiers(net, at, num_classes=2, example=torch.zeros(2, 4))


def test_modules_that_run_twice_or_not_at_all_are_named():
    with pytest.raises(ValueError, match="'layer' runs 2 times"):
        SubClassifiers(Twice(), ["layer"], num_classes=2, example=torch.zeros(2, 4))
    idle = nn.Sequential(OrderedDict(a=nn.Linear(4, 4), b=nn.ReLU(), c=nn.Linear(4, 2)))
    idle.add_module("spare", nn.Identity())
    net = SubClassifiers(idle, ["b"], num_classes=2, example=torch.zeros(2, 4))
    idle.forward = lambda x: idle.c(x)  # the next forward leaves b out
    with pytest.raises(RuntimeError, match="'b' did not run"):
        net(torch.zeros(2, 4))


def test_wrong_number_of_classes_is_refused():
    with pytest.raises(ValueError, match="num_classes: 9, but the network gives 10"):
        SubClassifiers(picture_net(), num_classes=9, example=torch.zeros(2, 3, 16, 16))


def test_unknown_head_is_refused():
    with pytest.raises(ValueError, match="head: 'wide', expected one of bottleneck"):
        SubClassifiers(picture_net(), num_classes=10, example=torch.zeros(2, 3, 16, 16), head="wide")


def test_a_network_without_a_linear_classifier_says_so_when_asked():
    net = OutputNet(
        nn.Sequential(nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), example=torch.zeros(2, 3, 4, 4)
    )
    assert net(torch.zeros(2, 3, 4, 4)).feature is None
    with pytest.raises(ValueError, match="feature_at="):
        _ = net.classifier


def test_heads_that_never_change_are_warned_about_once():
    net = picture_net()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)  # too early: it knows no heads
    wrapped = SubClassifiers(net, num_classes=10, example=torch.zeros(2, 3, 8, 8))
    x = torch.randn(4, 3, 8, 8)

    def train(count: int) -> None:
        for _ in range(count):
            torch.autograd.backward(wrapped(x).logits.sum())
            optimizer.step()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(49)
    with pytest.warns(UserWarning, match="build the optimiser after"):
        train(1)
    good = SubClassifiers(picture_net(), num_classes=10, example=torch.zeros(2, 3, 8, 8))
    optimizer = torch.optim.SGD(good.parameters(), 0.1)
    for _ in range(51):
        output = good(x)
        torch.autograd.backward(output.logits.sum() + output.aux[0].sum())
        optimizer.step()


def test_deep_copies_are_independent():
    net = SubClassifiers(picture_net(), num_classes=10, example=torch.zeros(2, 3, 8, 8))
    twin = copy.deepcopy(net)
    x = torch.randn(4, 3, 8, 8)
    expected = net(x).aux[0].detach()
    with torch.no_grad():
        for parameter in net.branches.parameters():
            parameter.zero_()
    torch.testing.assert_close(twin(x).aux[0], expected)
    assert net(x).aux[0].abs().max() == 0


def test_quiet_batchnorm_leaves_buffers_alone():
    net = picture_net()
    before = {name: value.clone() for name, value in net.named_buffers()}
    x = torch.randn(8, 3, 8, 8)
    with quiet_batchnorm(net):
        quiet = net(x)
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    assert torch.equal(quiet, net(x)), "quiet BatchNorm must still use the batch"
    assert not all(torch.equal(value, before[name]) for name, value in net.named_buffers())


def test_forwards_of_plain_samples_leave_statistics_that_are_not_theirs_alone():
    """A quiet one moves none; one that trains sub-classifiers moves theirs, on the samples of the batch."""
    net = OutputNet(picture_net())
    net.attach(None, torch.randn(2, 3, 8, 8))
    net.train()
    batch = Batch((torch.randn(8, 3, 8, 8),), torch.zeros(8, dtype=torch.int64), torch.arange(8), torch.ones(8))
    before = {name: value.clone() for name, value in net.named_buffers()}
    expected = net(batch.views[0])
    net.load_state_dict(before, strict=False)

    def moved() -> set[str]:
        return {name for name, value in net.named_buffers() if not torch.equal(value, before[name])}

    quiet = quiet_forward(net, batch)
    assert not moved()
    torch.testing.assert_close(quiet.logits, expected.logits)
    assert not quiet.logits.requires_grad
    plain = plain_forward(net, batch)
    of_heads = {name for name in before if not name.startswith("backbone.")}
    assert of_heads
    assert moved() == of_heads
    torch.testing.assert_close(plain.logits, expected.logits)


class Checkpointed(nn.Module):
    """Its first stage is computed anew in backward."""

    def __init__(self, on: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.on = on
        self.stage1 = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.stage2 = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.stage1, x, use_reentrant=False) if self.on else self.stage1(x)
        return self.out(self.stage2(x).mean((2, 3)))


def saved_bytes(work: Callable[[], Tensor]) -> tuple[Tensor, int]:
    kept: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        return work(), sum(kept.values())


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
def test_maps_made_again_in_backward_give_the_same_gradients_for_less_memory(autocast: torch.dtype | None):
    x, found = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)), []
    for recomputes in (False, True):
        torch.manual_seed(1)
        net = OutputNet(SmallResNet(3, 10), example=x[:2], num_classes=10)
        net.autocast = autocast
        net.attach(None, x[:2])
        recompute_maps(net, recomputes)

        def work(net: OutputNet = net) -> Tensor:
            output = net.train()(x)
            return output.logits.square().sum() + torch.stack([aux.square().sum() for aux in output.aux]).sum()

        loss, size = saved_bytes(work)
        loss.backward()
        moved = {name: value.clone() for name, value in net.named_buffers()}
        assert all(int(value) == 1 for name, value in moved.items() if name.endswith("num_batches_tracked"))
        gradients = {name: parameter.grad for name, parameter in net.named_parameters()}
        found.append((gradients, moved, size))
    (plain, buffers, kept), (again, moved, less) = found
    for name in plain:
        assert torch.equal(plain[name], again[name]), name
    for name in buffers:
        assert torch.equal(buffers[name], moved[name]), name
    assert less < 0.93 * kept


def test_activation_checkpointing_gives_the_same_gradients_and_moves_head_batchnorm_once():
    x = torch.randn(8, 3, 8, 8)
    gradients, buffers = [], []
    for on in (False, True):
        net = SubClassifiers(Checkpointed(on), ["stage1"], num_classes=4, example=torch.zeros(2, 3, 8, 8))
        output = net(x)
        torch.autograd.backward(output.logits.sum() + output.aux[0].square().sum())
        gradients.append([p.grad for p in net.parameters()])
        buffers.append([b.clone() for b in net.branches.buffers()])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second)
    for first, second in zip(*buffers, strict=True):
        assert torch.equal(first, second)


def test_compiles_without_a_graph_break():
    net = SubClassifiers(Perceptron(6, 3), num_classes=3, example=torch.zeros(2, 6))
    x = torch.randn(8, 6)
    torch.manual_seed(0)
    expected = net(x)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    torch.manual_seed(0)
    output = compiled(x)
    torch.testing.assert_close(output.aux[0], expected.aux[0])
    torch.testing.assert_close(output.logits, expected.logits)


def test_half_precision_is_raised():
    net = OutputNet(picture_net(), example=torch.zeros(2, 3, 8, 8))
    net.attach(None, torch.zeros(2, 3, 8, 8))
    net.autocast = torch.bfloat16
    output = net(torch.randn(4, 3, 8, 8))
    assert {tensor.dtype for tensor in (output.logits, output.feature, *output.aux, *output.aux_features)} == {
        torch.float32
    }
    half, single = output.rows(slice(0, 2)), output.detach()
    assert half.aux[1].shape == (2, 10)
    assert not single.aux[0].requires_grad


def test_fused_optimisers_are_not_warned_about():
    """They write parameters without moving their version."""
    net = SubClassifiers(picture_net(), num_classes=10, example=torch.zeros(2, 3, 8, 8))
    optimizer = torch.optim.SGD(net.parameters(), 0.1, fused=True)
    x = torch.randn(4, 3, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(51):
            torch.autograd.backward(net(x).aux[0].sum())
            optimizer.step()


def test_dropout_in_place_is_taken_for_what_it_does_in_training():
    """A dry run in eval mode cannot see it."""

    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.drop, self.last = nn.Linear(4, 16), nn.Dropout(0.5, inplace=True), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.drop(self.first(x)))

    torch.manual_seed(0)
    net = SubClassifiers(Dropping(), "first", 3, torch.zeros(2, 4), head="linear")
    x = torch.randn(64, 4)
    output = net(x)
    torch.testing.assert_close(output.aux_features[0], net.backbone.first(x))
    torch.autograd.backward(output.logits.sum() + output.aux[0].sum())


def test_arguments_by_position_names_and_mappings():
    from collections import UserDict

    net = Encoder()
    tokens = torch.randint(20, (4, 7))
    wrapped = SubClassifiers(net, "encoder.layers.1", 3, UserDict(tokens=tokens))
    assert wrapped.places == ["encoder.layers.1"]
    assert wrapped(tokens=tokens).aux[0].shape == (4, 3)
    assert SubClassifiers(Encoder(), example=tokens).num_classes == 3
    with pytest.raises(ValueError, match="example: missing"):
        SubClassifiers(Encoder(), num_classes=3)


@pytest.mark.parametrize("head", ["bottleneck", "pooled"])
def test_a_batch_of_one_row_goes_through(head: str):
    for make, example in ((picture_net, torch.randn(2, 3, 8, 8)), (lambda: Perceptron(6, 3), torch.randn(2, 6))):
        net = SubClassifiers(make(), example=example, head=head)
        for module in net.backbone.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()  # the network's own is its own affair
        assert all(logits.isfinite().all() for logits in net(example[:1]).aux)


def test_a_small_network_of_one_resolution_finds_a_place():
    """Two convolutions and global pooling: what the second reads. Never the layer that gives the logits."""

    def net(convolutions: int) -> nn.Module:
        layers: list[nn.Module] = []
        for k in range(convolutions):
            layers += [nn.Conv2d(3 if k == 0 else 8, 8, 3, padding=1), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))

    example = torch.randn(2, 3, 8, 8)
    assert SubClassifiers(net(2), num_classes=4, example=example).places == ["1"]
    assert SubClassifiers(net(3), num_classes=4, example=example).places == ["3"]
    assert SubClassifiers(net(1), num_classes=4, example=example).places == ["3"]
    with pytest.raises(ValueError, match="found no place for sub-classifiers; no module in it gives a hidden layer"):
        SubClassifiers(nn.Linear(5, 4), num_classes=4, example=torch.randn(2, 5))
    wrapped = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with pytest.raises(ValueError, match="no module") as error:
        SubClassifiers(wrapped, at="nosuch", num_classes=4, example=example)
    assert "1" not in str(error.value).split("modules:")[1], "the output layer is not offered"
