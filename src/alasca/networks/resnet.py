"""The paper's residual networks for 32x32 pictures: ResNet-18, -32, -34, PreActResNet-18, WRN-28-4.

Each names the ends of its stages in `feature_info`, as timm's networks do; sub-classifiers go to all but the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from alasca.networks.small import ResidualBlock


def stage_ends(names: Sequence[str], widths: Sequence[int]) -> list[dict[str, Any]]:
    """`feature_info` of stages that halve the picture one after another, the first keeping its size."""
    return [
        {"module": name, "num_chs": width, "reduction": 2**k}
        for k, (name, width) in enumerate(zip(names, widths, strict=True))
    ]


class PaddedBlock(ResidualBlock):
    """A residual block whose shortcut has no parameters: every second pixel, and zeros for the new channels.

    "Option A" of He et al., 2016, section 4.2.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__(width_in, width, stride)
        self.shortcut = PaddedShortcut(width - width_in, stride)


class PaddedShortcut(nn.Module):
    """Every `stride`-th pixel; `extra` channels of zeros, half before and half after."""

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra, self.stride = extra, stride

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to ``[B, C + extra, H / stride, W / stride]``."""
        before = self.extra // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.extra - before))


class PreActBlock(nn.Module):
    """BatchNorm and ReLU before each of two convolutions; a 1x1 shortcut reads the first ReLU (He et al., 2016b)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or width_in != width:
            self.shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to ``[B, width, H / stride, W / stride]``."""
        active = F.relu(self.bn1(x))
        kept = x if self.shortcut is None else self.shortcut(active)
        y: Tensor = self.conv2(F.relu(self.bn2(self.conv1(active)))) + kept
        return y


class ResNet(nn.Module):
    """A stem of one 3x3 convolution, stages of residual blocks, average pooling and a linear layer.

    Args:
        channels: of the pictures.
        num_classes: K.
        blocks: how many in each stage.
        widths: of each stage.
        stem: width of the first convolution.
        block: called with (width in, width, stride).
        stem_norm: BatchNorm and ReLU after the stem.
        stem_stride: 2 halves the picture at once: a quarter of the time.
        final_norm: BatchNorm and ReLU before pooling.
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        blocks: Sequence[int],
        widths: Sequence[int],
        stem: int,
        block: Callable[[int, int, int], nn.Module] = ResidualBlock,
        stem_norm: bool = True,
        final_norm: bool = False,
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, stem, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem) if stem_norm else None
        width_in = stem
        names = [f"layer{k}" for k in range(1, len(blocks) + 1)]
        for name, count, width in zip(names, blocks, widths, strict=True):
            strides = [1 if name == "layer1" else 2] + [1] * (count - 1)
            parts = [block(width_in if k == 0 else width, width, stride) for k, stride in enumerate(strides)]
            self.add_module(name, nn.Sequential(*parts))
            width_in = width
        self.stages = names
        self.bn_final = nn.BatchNorm2d(width_in) if final_norm else None
        self.classifier = nn.Linear(width_in, num_classes)
        self.feature_info = stage_ends(names, widths)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures ``[B, C, H, W]`` to logits ``[B, K]``."""
        x = self.conv1(x)
        if self.bn1 is not None:
            x = F.relu(self.bn1(x))
        for name in self.stages:
            x = self._modules[name](x)  # type: ignore[misc]  # every stage is a module
        if self.bn_final is not None:
            x = F.relu(self.bn_final(x))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


def resnet18(channels: int, num_classes: int) -> ResNet:
    """ResNet-18 for 32x32 pictures: 11.2 million parameters"""
    return ResNet(channels, num_classes, (2, 2, 2, 2), (64, 128, 256, 512), 64)


def resnet18_narrow(channels: int, num_classes: int) -> ResNet:
    """ResNet-18 of widths 16 to 128: 0.7 million parameters, for small budgets"""
    return ResNet(channels, num_classes, (2, 2, 2, 2), (16, 32, 64, 128), 16)


def resnet10_narrow(channels: int, num_classes: int) -> ResNet:
    """ResNet-10 of widths 16 to 128 that halves pictures first: 0.3 million parameters, for minutes on a processor"""
    return ResNet(channels, num_classes, (1, 1, 1, 1), (16, 32, 64, 128), 16, stem_stride=2)


def resnet32(channels: int, num_classes: int) -> ResNet:
    """ResNet-32 for 32x32 pictures, shortcuts without parameters: 0.46 million parameters"""
    return ResNet(channels, num_classes, (5, 5, 5), (16, 32, 64), 16, PaddedBlock)


def resnet34(channels: int, num_classes: int) -> ResNet:
    """ResNet-34 for 32x32 pictures, the paper's main network: 21.3 million parameters"""
    return ResNet(channels, num_classes, (3, 4, 6, 3), (64, 128, 256, 512), 64)


def preact_resnet18(channels: int, num_classes: int) -> ResNet:
    """PreActResNet-18 for 32x32 pictures: 11.2 million parameters"""
    return ResNet(channels, num_classes, (2, 2, 2, 2), (64, 128, 256, 512), 64, PreActBlock, stem_norm=False)


def wrn28_4(channels: int, num_classes: int) -> ResNet:
    """WRN-28-4 for 32x32 pictures (Zagoruyko and Komodakis, 2016): 5.8 million parameters"""
    return ResNet(channels, num_classes, (4, 4, 4), (64, 128, 256), 16, PreActBlock, stem_norm=False, final_norm=True)
