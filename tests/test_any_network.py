"""Networks and loops as people have them: nested inputs, one axis more, samples second, batches of none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from alasca import AlascaLoss, InputError, SubClassifiers
from alasca.core import Output
from alasca.networks import create_network
from alasca.surgery import OutputNet
from alasca.surgery.dry_run import survey

X, Y = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


class Nested(nn.Module):
    """Takes a dict, a list in a dict, or what a keyword names."""

    def __init__(self) -> None:
        super().__init__()
        self.net = perceptron()

    def forward(self, batch: Any) -> Tensor:
        x = batch["x"]
        result: Tensor = self.net(x[0] if isinstance(x, (list, tuple)) else x)
        return result


@pytest.mark.parametrize("wrap", [
    lambda x: {"x": x}, lambda x: ({"x": x},), lambda x: {"batch": {"x": x}}, lambda x: [{"x": [x, x]}],
], ids=["mapping", "tuple", "keyword", "list"])  # fmt: skip
def test_inputs_nested_in_what_people_nest_them_in(wrap):
    net = SubClassifiers(Nested(), num_classes=3, example=wrap(X[:2]))
    assert net.places == ["net.1"]
    output = net({"x": X})
    assert (output.logits.shape, output.aux[0].shape) == ((12, 3), (12, 3))


def test_an_index_in_any_form_and_out_of_range():
    net = SubClassifiers(perceptron(), num_classes=3, example=X[:2])
    losses = set()
    for index in (
        torch.arange(12),
        np.arange(12),
        list(range(12)),
        tuple(range(12)),
        torch.arange(12, dtype=torch.int32),
    ):
        criterion = AlascaLoss(12, 3)
        losses.add(round(criterion(net(X), Y, index, 0).item(), 6))
    assert len(losses) == 1
    with pytest.raises(ValueError, match=r"index: .*'a'.*expected positions in the training set, whole numbers"):
        criterion(net(X), Y, tuple("abcdefghijkl"), 0)
    for wrong in (torch.rand(12), torch.ones(12, dtype=torch.bool)):
        with pytest.raises(ValueError, match="expected positions in the training set, whole numbers"):
            criterion(net(X), Y, wrong, 0)
    small = AlascaLoss(8, 3)
    small(net(X[:4]), Y[:4], torch.arange(4), 0)
    for wrong, words in ((range(4, 12), "from 4 to 11, expected 0 to 7"), (range(-1, 7), "from -1 to 6")):
        with pytest.raises(ValueError, match=f"{words}.*is num_samples how many there are"):
            small(net(X[4:]), Y[4:], list(wrong), 0)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_that_hides_the_gradient_is_refused_at_the_first_step(reentrant: bool):
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = checkpoint(self.second, self.first(x), use_reentrant=reentrant)
            result: Tensor = self.last(torch.relu(x))
            return result

    net = SubClassifiers(Saving(), at="second", num_classes=3, example=X[:2])
    if not reentrant:
        net(X).aux[0].sum().backward()
        assert net.branches[0].head.classifier.weight.grad is not None
        return
    with pytest.raises(
        RuntimeError, match=r"'second' ran without gradient .*write checkpoint\(..., use_reentrant=False\)"
    ):
        net(X)
    with torch.no_grad():
        assert isinstance(net(X), Output), "nobody learns here"


def block(width: int, wide: int, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(width, wide, 5, stride, 2), nn.BatchNorm1d(wide), nn.ReLU())


def signals(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize(("net", "places", "widths"), [
    (signals(block(2, 8), block(8, 16), block(16, 16)), ["0", "1"], [8, 16]),
    (signals(nn.Conv1d(2, 8, 5, 2), nn.ReLU(), nn.Conv1d(8, 16, 5, 2), nn.ReLU(), nn.Conv1d(16, 16, 3, 2)), ["1", "3"], [8, 16]),
    (signals(nn.Sequential(*[block(2 if k == 0 else 16, 16, 1) for k in range(4)])), ["0.0", "0.1", "0.2"], [16] * 3),
])  # fmt: skip
def test_maps_of_one_axis_are_pooled_over_time(net: nn.Module, places: list[str], widths: list[int]):
    wrapped = SubClassifiers(net, num_classes=3, example=torch.randn(2, 2, 64))
    assert wrapped.places == places
    assert [branch.head.body[0].in_features for branch in wrapped.branches] == widths
    for length in (64, 100, 37):
        assert wrapped(torch.randn(4, 2, length)).aux[0].shape == (4, 3)
    x = torch.randn(4, 2, 64)
    feature: list[Tensor] = []
    handle = net.get_submodule(places[0]).register_forward_hook(lambda m, i, o: feature.append(o))
    linear = SubClassifiers(net, at=places[0], num_classes=3, example=x, head="linear").eval()
    found = OutputNet.forward(linear, x).aux_features[0]
    handle.remove()
    torch.testing.assert_close(found, feature[-1].mean(2))


class Sequences(nn.Module):
    """A transformer or a recurrent network that puts time first inside."""

    def __init__(self, kind: str, first: bool) -> None:
        super().__init__()
        self.kind, self.first = kind, first
        self.embed = nn.Embedding(50, 16)
        if kind == "transformer":
            layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=first)
            self.body: nn.Module = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        else:
            self.body = nn.GRU(16, 16, batch_first=first)
        self.last = nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = self.body(x if self.first else x.transpose(0, 1))
        x = x[0] if self.kind == "gru" else x
        result: Tensor = self.last(x.mean(1 if self.first else 0))
        return result


@pytest.mark.parametrize("kind", ["transformer", "gru"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("batch", "length"), [(12, 12), (12, 7), (2, 2)])
def test_samples_that_lie_second_are_not_mixed(kind: str, first: bool, batch: int, length: int):
    torch.manual_seed(0)
    tokens = torch.randint(0, 50, (batch, length))
    at = "body" if kind == "gru" else None
    net = SubClassifiers(Sequences(kind, first), at=at, num_classes=3, example=tokens).eval()
    assert net.places == (["body"] if at else ["body.layers.0", "body.layers.1", "body.layers.2"])
    other = tokens.clone()
    other[1] = (tokens[1] + 7) % 50
    before, after = OutputNet.forward(net, tokens), OutputNet.forward(net, other)
    for first_aux, second_aux in zip(before.aux, after.aux, strict=True):
        rows = (first_aux != second_aux).any(1).nonzero()[:, 0].tolist()
        assert rows == [1], "the sample that changed, and no other"


def test_networks_of_transformers_get_places_or_a_sentence():
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1], embedding_size=8, layer_type="basic", num_labels=3
    )
    net = SubClassifiers(
        transformers.ResNetForImageClassification(config),
        num_classes=3,
        example={"pixel_values": torch.randn(2, 3, 64, 64)},
    )
    assert net.places == [f"resnet.encoder.stages.{k}" for k in range(3)]
    config = transformers.AlbertConfig(
        vocab_size=64,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=3,
        embedding_size=8,
    )
    model, example = transformers.AlbertForSequenceClassification(config), {"input_ids": torch.randint(3, 60, (2, 10))}
    with pytest.raises(
        ValueError, match=r"share their weights .*name a module that runs once, or train it without ALASCA"
    ):
        SubClassifiers(model, num_classes=3, example=example)
    assert SubClassifiers(model, at="albert.pooler", num_classes=3, example=example).places == ["albert.pooler"]
    with pytest.raises(ValueError, match="no module in it gives a hidden layer; train it without ALASCA"):
        SubClassifiers(nn.Linear(4, 3), num_classes=3, example=X[:2])


def pictures(*widths: int) -> nn.Sequential:
    layers = [
        nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())
        for a, b in zip((3, *widths), widths, strict=False)
    ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 3))


def test_smaller_inputs_and_batches_of_none():
    net = SubClassifiers(pictures(8, 16, 16), num_classes=3, example=torch.randn(2, 3, 64, 64))
    criterion = AlascaLoss(12, 3)
    for side in (64, 32, 16, 9, 4):
        loss = criterion(net(torch.randn(4, 3, side, side)), Y[:4], [0, 1, 2, 3], 0)
        assert loss.isfinite()
    for wrapped, none in (
        (net, torch.zeros(0, 3, 64, 64)),
        (SubClassifiers(perceptron(), num_classes=3, example=X[:2]), X[:0]),
    ):
        before = {name: value.clone() for name, value in wrapped.branches.state_dict().items()}
        output = wrapped(none)
        assert [aux.shape for aux in output.aux] == [(0, 3)] * len(output.aux)
        loss = criterion(output, Y[:0], [], 0)
        loss.backward()
        assert loss.item() == 0
        for name, value in wrapped.branches.state_dict().items():
            assert "num_batches" in name or torch.equal(value, before[name]), "no sample, no trace"


def test_a_network_that_returns_features_first():
    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.last = (
                nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()),
                nn.Linear(8, 3),
            )

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            feature = self.body(x)
            return feature, self.last(feature)

    net = SubClassifiers(Features(), example=X[:2])
    assert (net.num_classes, net.places) == (3, ["body.1"])
    torch.testing.assert_close(net(X).logits, net.backbone(X)[1])


@pytest.mark.parametrize("name", ["timm:vit_tiny_patch16_224", "torchvision:vit_b_16"])
def test_a_network_of_a_fixed_size_says_which(name: str):
    pytest.importorskip(name.partition(":")[0])
    with pytest.raises(InputError, match=r"reads pictures of 224x224 only, these are 32x32; add --image-size 224"):
        create_network(name, (3, 32, 32), 2)


# --- what a dry run must not be deceived by ---


class Attention(nn.Module):
    """Attention by hand, whose softmax returns heads and tokens on four axes."""

    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width // heads)
        self.heads, self.qkv, self.drop, self.out = (
            heads,
            nn.Linear(width, 3 * width),
            nn.Softmax(-1),
            nn.Linear(width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        k = self.norm(k)
        result: Tensor = self.out((self.drop(q @ k.transpose(-1, -2)) @ v).transpose(1, 2).reshape(b, t, d))
        return x + result


class Patches(nn.Module):
    """A vision transformer, its classifier on the mean or on every token."""

    def __init__(self, on_tokens: bool) -> None:
        super().__init__()
        self.patch, self.blocks, self.last, self.on_tokens = (
            nn.Conv2d(3, 16, 8, 8),
            nn.Sequential(*[Attention() for _ in range(4)]),
            nn.Linear(16, 3),
            on_tokens,
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.patch(x).flatten(2).transpose(1, 2))
        result: Tensor = self.last(x).mean(1) if self.on_tokens else self.last(x.mean(1))
        return result


@pytest.mark.parametrize("on_tokens", [False, True])
def test_heads_of_attention_are_no_channels(on_tokens: bool):
    net = SubClassifiers(Patches(on_tokens), num_classes=3, example=torch.randn(2, 3, 32, 32))
    assert net.places == ["blocks.0", "blocks.1", "blocks.2"]
    assert net.branches[0].head.classifier.in_features == 16, "the last blocks' width, not heads or classes"


def test_scores_of_places_are_no_stage():
    scored = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(8, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 3, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    net = SubClassifiers(scored, num_classes=3, example=torch.randn(2, 3, 32, 32))
    assert net.branches[0].head.classifier.in_features == 32


@pytest.mark.parametrize("num_classes", [None, 3])
def test_features_as_wide_as_the_logits_are_not_taken_for_them(num_classes: int | None):
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.last = (
                nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.ReLU()),
                nn.Linear(3, 3),
            )

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            feature = self.body(x)
            return feature, self.last(feature)

    net = SubClassifiers(Both(), num_classes=num_classes, example=X[:2])
    AlascaLoss(12, 3)(net(X), Y, torch.arange(12), 0).backward()
    assert net.backbone.last.weight.grad is not None


@pytest.mark.parametrize("batch", [4, 6])
def test_inputs_whose_samples_lie_second(batch: int):
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.last = nn.LSTM(5, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.last(self.body(x)[0][-1])
            return result

    torch.manual_seed(0)
    x = torch.randn(4, batch, 5)
    net = SubClassifiers(Recurrent(), num_classes=3, example=x).eval()
    other = x.clone()
    other[:, 0] += 1
    before, after = OutputNet.forward(net, x).aux[0], OutputNet.forward(net, other).aux[0]
    assert (before != after).any(1).nonzero()[:, 0].tolist() == [0]


def test_padding_in_a_transformer_of_torchs_defaults():
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.embed, self.body, self.last = nn.Embedding(20, 16), nn.TransformerEncoder(layer, 2), nn.Linear(16, 3)

        def forward(self, tokens: Tensor) -> Tensor:
            result: Tensor = self.last(self.body(self.embed(tokens), src_key_padding_mask=tokens == 0)[:, 0])
            return result

    tokens = torch.tensor([[1, 2, 3], [4, 0, 0]])
    net = SubClassifiers(Padded(), num_classes=3, example=tokens)
    assert net(tokens).aux[0].shape == (2, 3)
    with torch.no_grad():
        assert OutputNet.forward(net.eval(), tokens).aux[0].shape == (2, 3)
    assert torch.backends.mha.get_fastpath_enabled(), "as it was"


def test_volumes_are_pooled_and_rows_that_are_no_samples_are_named():
    layers = [nn.Sequential(nn.Conv3d(a, b, 3, 2, 1), nn.ReLU()) for a, b in ((1, 4), (4, 8), (8, 8))]
    net = SubClassifiers(
        nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 3)),
        num_classes=3,
        example=torch.randn(2, 1, 16, 16, 16),
    )
    assert net.places == ["0", "1"]
    assert net(torch.randn(5, 1, 12, 16, 16)).aux[0].shape == (5, 3)

    class Prototypes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.names = nn.Linear(4, 8), nn.Embedding(2, 8)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) @ self.names(torch.arange(2)).T

    net = SubClassifiers(Prototypes(), at="names", num_classes=2, example=X[:2])
    with pytest.raises(
        ValueError, match="'names' gives 2 rows for 12 samples, which are not one each; name another place"
    ):
        net(X)
    with pytest.raises(ValueError, match=r"the network gives \[2, 3, 8, 8\]; expected logits of classes, \[B, K\]"):
        SubClassifiers(nn.Conv2d(3, 3, 1), example=torch.randn(2, 3, 8, 8))


def test_the_loss_of_lists_and_of_nothing():
    net = SubClassifiers(perceptron(), num_classes=3, example=X[:2])
    criterion = AlascaLoss(12, 3)
    expected = criterion(net(X), Y, torch.arange(12), 0).item()
    for labels in (Y.tolist(), Y.numpy()):
        assert AlascaLoss(12, 3)(net(X), labels, np.arange(12)[::-1][::-1], 0).item() == pytest.approx(expected)
    assert AlascaLoss(12, 3)(net(X), Y, np.arange(12)[::-1], 0).isfinite()
    assert criterion.eval()(net.eval()(X[:0]), Y[:0]).item() == 0


def test_rows_that_all_move_are_no_second_axis():
    class Mixing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + x.mean((0, 1), keepdim=True)

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.mix, self.last = nn.Linear(4, 8), Mixing(), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            sequence = self.first(x)
            self.mix(sequence)  # looked at, and not used
            result: Tensor = self.last(sequence.mean(1))
            return result

    seen = survey(Mixed(), (torch.randn(5, 5, 4),), {}, 3)
    assert {visit.name: visit.order for visit in seen.visits} == {"first": None, "mix": None, "last": None}


class Squeezed(nn.Module):
    """A block of Conv1d with squeeze and excitation, whose linear layers are as wide as its channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm, self.gate = (
            nn.Conv1d(width, width, 3, padding=1),
            nn.BatchNorm1d(width),
            nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        found = self.norm(self.conv(x))
        return x + found * self.gate(found.mean(2)).sigmoid()[..., None]


@pytest.mark.parametrize("length", [8, 20])
def test_channels_are_found_where_there_are_as_many_as_steps(length: int):
    net = nn.Sequential(
        Squeezed(8),
        Squeezed(8),
        Squeezed(8),
        Squeezed(8),
        nn.LayerNorm([8, length]),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    seen = survey(net, (torch.randn(2, 8, length),), {}, 3)
    orders = {visit.name: visit.order for visit in seen.visits if visit.output.dim() == 3}
    assert all(orders[name] == (0, 2, 1) for name in "01234"), orders
