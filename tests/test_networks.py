"""Networks by name: parameter counts of the field, sizes of stages, places for sub-classifiers, other libraries."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from alasca import InputError, SubClassifiers
from alasca.networks import NETWORKS, Tokens, create_network, text_tokenizer
from alasca.surgery import OutputNet
from lookalikes import bert

COUNTS = {
    "resnet34": (21_282_122, 21_328_292), "resnet18": (11_173_962, 11_220_132), "resnet32": (464_154, 470_004),
    "preact-resnet18": (11_171_146, 11_217_316), "wrn28-4": (5_849_050, 5_872_180), "vgg19-bn": (20_040_522, None),
    "vgg19": (20_029_514, None),
}  # fmt: skip
PLACES = {
    "resnet34": {"layer1": 32, "layer2": 16, "layer3": 8}, "resnet18": {"layer1": 32, "layer2": 16, "layer3": 8},
    "resnet18-narrow": {"layer1": 32, "layer2": 16, "layer3": 8}, "resnet32": {"layer1": 32, "layer2": 16},
    "preact-resnet18": {"layer1": 32, "layer2": 16, "layer3": 8}, "wrn28-4": {"layer1": 32, "layer2": 16},
    "vgg19-bn": {"features.stage2": 8, "features.stage3": 4, "features.stage4": 2},
    "vgg19": {"features.stage2": 8, "features.stage3": 4, "features.stage4": 2},
}  # fmt: skip
"""Where the paper puts sub-classifiers, and the side of the map: after all stages but the last; VGG: pools 2 to 4."""


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name: str):
    for classes, expected in zip((10, 100), COUNTS[name], strict=True):
        with torch.device("meta"):
            net = create_network(name, (3, 32, 32), classes)
        found = sum(parameter.numel() for parameter in net.parameters())
        assert expected in (None, found)


@pytest.mark.parametrize("name", PLACES)
def test_default_places(name: str):
    torch.manual_seed(0)
    net = create_network(name, (3, 32, 32), 10)
    sizes: dict[str, int] = {}
    for place in PLACES[name]:
        net.get_submodule(place).register_forward_hook(
            lambda module, given, value, place=place: sizes.update({place: value.shape[-1]})
        )
    wrapped = SubClassifiers(net, num_classes=10, example=torch.zeros(2, 3, 32, 32), head="linear")
    assert wrapped.places == list(PLACES[name])
    assert sizes == PLACES[name]
    output = wrapped(torch.randn(2, 3, 32, 32))
    assert output.logits.shape == (2, 10)
    assert len(output.aux) == len(PLACES[name])
    assert isinstance(OutputNet(net, example=torch.zeros(2, 3, 32, 32)).classifier, nn.Linear)


def test_shortcuts_without_parameters_pad_with_zeros():
    """Option A: every second pixel, new channels around the old ones."""
    from alasca.networks.resnet import PaddedShortcut

    x = torch.randn(2, 16, 8, 8)
    found = PaddedShortcut(16, 2)(x)
    assert found.shape == (2, 32, 4, 4)
    assert torch.equal(found[:, 8:24], x[:, :, ::2, ::2])
    assert not found[:, :8].any()
    assert not found[:, 24:].any()


def test_preactivation_shortcuts_read_the_activation():
    from alasca.networks.resnet import PreActBlock

    block = PreActBlock(4, 8, 2).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 8, 8)
    assert block.shortcut is not None
    torch.testing.assert_close(block(x), block.shortcut(torch.relu(block.bn1(x))))
    same = PreActBlock(4, 4, 1).eval()
    nn.init.zeros_(same.conv2.weight)
    torch.testing.assert_close(same(x), x)


@pytest.mark.parametrize(
    ("name", "places", "size"),
    [
        ("timm:resnet18", ["layer1", "layer2", "layer3"], 64),
        ("timm:resnet50", ["layer1", "layer2", "layer3"], 64),
        ("timm:mobilenetv3_small_050", 3, 64),
        ("timm:vit_tiny_patch16_224", ["blocks.2", "blocks.5", "blocks.8"], 224),
        ("timm:convnext_atto", ["stages.0", "stages.1", "stages.2"], 64),
        ("torchvision:resnet18", ["layer1", "layer2", "layer3"], 64),
        ("torchvision:shufflenet_v2_x0_5", 3, 64),
    ],
)
def test_networks_of_other_libraries(name: str, places: list[str] | int, size: int):
    net = create_network(name, (3, size, size), 7)
    wrapped = SubClassifiers(net, num_classes=7, example=torch.zeros(2, 3, size, size), head="linear")
    assert wrapped.places == places or len(wrapped.places) == places
    output = wrapped(torch.randn(2, 3, size, size))
    assert output.logits.shape == (2, 7)
    assert all(logits.shape == (2, 7) for logits in output.aux)


def test_grey_pictures_and_unknown_names():
    assert create_network("timm:resnet18", (1, 32, 32), 3)(torch.zeros(2, 1, 32, 32)).shape == (2, 3)
    for name, words in (
        ("timm:resnet19", "timm has no model 'resnet19'; near it: "),
        ("torchvision:resnet19", "torchvision has no model 'resnet19'; near it: resnet1"),
        ("resnet43", "did you mean 'resnet34'"),
        ("zzz", r"expected one of small-resnet.*timm:NAME.*package\.module:callable"),
        ("mlp", r"mlp reads rows of numbers, the data are pictures \[3, 32, 32\]; try small-resnet"),
        ("text-transformer", "reads texts, the data are pictures"),
        ("hf:gpt2", "reads texts, the data are pictures"),
        ("hf", "'hf' is unknown"),
        ("no.such.module:f", "can't be imported"),
    ):
        with pytest.raises(InputError, match=words) as error:
            create_network(name, (3, 32, 32), 10)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="no published weights of resnet34"):
        create_network("resnet34", (3, 32, 32), 10, pretrained=True)
    with pytest.raises(InputError, match="try text-bag"):
        create_network("mlp", (12,), 2, Tokens(100, 0))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "squeezenet1_1", "resnet18"])
def test_a_pretrained_network_is_built_like_one_that_reads_a_saved_state(name: str, monkeypatch: pytest.MonkeyPatch):
    """Published weights come without a download here: those of a fresh network with a thousand classes."""
    from torchvision.models import _api, get_model

    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    published = get_model(name, weights=None, **extra).state_dict()
    monkeypatch.setattr(_api.WeightsEnum, "get_state_dict", lambda self, **given: published)
    shape = (3, 299, 299) if name == "inception_v3" else (3, 64, 64)
    trained = create_network(f"torchvision:{name}", shape, 7, pretrained=True).eval()
    loaded = create_network(f"torchvision:{name}", shape, 7).eval()
    loaded.load_state_dict(trained.state_dict())
    x = torch.randn(2, *shape)
    with torch.no_grad():
        assert torch.equal(trained(x), loaded(x))
    assert trained(x).shape == (2, 7)
    first = next(iter(trained.state_dict()))
    assert torch.equal(trained.state_dict()[first], published[first]), "the weights are the published ones"


def test_a_network_of_ones_own_may_import_what_it_needs_when_it_is_made(tmp_path: Path, monkeypatch):
    (tmp_path / "parts_of_mine.py").write_text("WIDTH = 3\n")
    (tmp_path / "late_network.py").write_text(
        "from torch import nn\n"
        "def make(num_classes):\n"
        "    from parts_of_mine import WIDTH\n"
        "    return nn.Linear(WIDTH, num_classes)\n"
        "def broken(num_classes):\n"
        "    import no_such_part\n"
    )
    monkeypatch.chdir(tmp_path)
    assert create_network("late_network:make", (3,), 2)(torch.zeros(1, 3)).shape == (1, 2)
    with pytest.raises(InputError, match=r"can't be imported \(ModuleNotFoundError: No module named 'no_such_part'\)"):
        create_network("late_network:broken", (3,), 2)


def test_a_missing_library_says_what_to_type(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"timm is not installed; type: pip install 'alasca\[timm\]'"):
        create_network("timm:resnet18", (3, 32, 32), 10)


@pytest.fixture
def texts(tmp_path: Path) -> list[tuple[str, Callable[[], nn.Module], Tensor, Tensor]]:
    """Both kinds of text network with short token ids, and the same with more padding."""
    short = torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0]])
    long = torch.nn.functional.pad(short, (0, 4))
    name = bert(tmp_path)
    found = text_tokenizer(name)
    assert found is not None
    return [
        ("text-transformer", lambda: create_network("text-transformer", (8,), 2, Tokens(10, 0)), short, long),
        ("text-bag", lambda: create_network("auto", (8,), 2, Tokens(10, 0)), short, long),
        (name, lambda: create_network(name, (8,), 2, found[1]), short, long),
    ]


def test_text_networks_do_not_read_padding(texts: list[tuple[str, Callable[[], nn.Module], Tensor, Tensor]]):
    """Neither logits nor sub-classifiers change when texts are padded further."""
    for name, make, short, long in texts:
        net = OutputNet(make(), example=long, num_classes=2)
        net.attach(None, long, "linear")
        net.heads_in_eval = True
        net.eval()
        assert len(net.places) == (1 if name == "text-bag" else 3), name
        first, second = net(short), net(long)
        torch.testing.assert_close(first.logits, second.logits, atol=1e-5, rtol=1e-4)
        for one, other in zip(first.aux, second.aux, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_a_tokenizer_comes_with_its_network(tmp_path: Path):
    found = text_tokenizer(bert(tmp_path))
    assert found is not None
    tokenize, tokens = found
    assert tokenize("hello friend zzz") == [2, 8, 9, 1, 3]
    assert tokens == Tokens(10, 0, 1)
    assert text_tokenizer("text-transformer") is None
    with pytest.raises(InputError, match=r"hf:.*none can't be made"):
        text_tokenizer(f"hf:{tmp_path / 'none'}")


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_checkpoint_in_half_precision_trains_in_whole(tmp_path: Path, pretrained: bool):
    name = bert(tmp_path)
    transformers = pytest.importorskip("transformers")
    folder = name.removeprefix("hf:")
    transformers.AutoModelForSequenceClassification.from_pretrained(folder).bfloat16().save_pretrained(folder)
    net = create_network(name, (8,), 2, Tokens(10, 0), pretrained=pretrained)
    assert {parameter.dtype for parameter in net.parameters()} == {torch.float32}


def test_every_network_has_a_line_for_the_list():
    for make in NETWORKS.values():
        assert (make.__doc__ or "").strip()


def test_a_bag_by_hand():
    """Words 5, 6 and the pair of them, weighted by log(rank + 2), scaled to norm 3; order matters to pairs alone."""
    net = create_network("text-bag", (3,), 2, Tokens(10, 0))
    bag = net.bag
    weight = [math.log(7), math.log(8), math.log(12)]
    pair = bag.pairs.weight[(5 * 1_000_003 + 6 * 7_919) % (1 << 15)]
    total = weight[0] * bag.words.weight[5] + weight[1] * bag.words.weight[6] + weight[2] * pair
    expected = total * 3 / math.sqrt(sum(each**2 for each in weight))
    torch.testing.assert_close(bag(torch.tensor([[5, 6, 0]]))[0], expected)
    assert not torch.allclose(bag(torch.tensor([[6, 5, 0]]))[0], expected)
    torch.testing.assert_close(bag(torch.tensor([[5]]))[0], 3 * bag.words.weight[5])
    assert bag(torch.tensor([[0, 0]])).abs().max() == 0
