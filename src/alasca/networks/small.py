"""Small networks for small data: a residual network for pictures, a perceptron for rows of numbers."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and a shortcut, 1x1 where the shape changes (He et al., 2016)."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` to ``[B, width, H / stride, W / stride]``."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """Three residual blocks of width 32, 64 and 128, strides 1, 2 and 2, average pooling and a linear layer."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.block1 = ResidualBlock(channels, 32, 1)
        self.block2 = ResidualBlock(32, 64, 2)
        self.block3 = ResidualBlock(64, 128, 2)
        self.classifier = nn.Linear(128, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures ``[B, C, H, W]`` to logits ``[B, K]``."""
        feature: Tensor = self.block3(self.block2(self.block1(x))).mean((2, 3))
        logits: Tensor = self.classifier(feature)
        return logits


class Perceptron(nn.Sequential):
    """Three hidden layers of 256 with BatchNorm, ReLU and dropout of one half, for rows of numbers.

    Without dropout a perceptron of this width learns the wrong labels of a small table within a few epochs, inside
    ALASCA too: ``docs/tables.md`` has both.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        layers: list[nn.Module] = []
        for size in (256, 256, 256):
            layers += [nn.Linear(width, size, bias=False), nn.BatchNorm1d(size), nn.ReLU(), nn.Dropout(0.5)]
            width = size
        super().__init__(*layers, nn.Linear(width, num_classes))


def kaiming(make: Callable[[int, int], nn.Module]) -> Callable[[int, int], nn.Module]:
    """A network whose convolutions and linear layer are drawn from N(0, 2 / fan in): 2.45 times torch's own weights."""

    def made(channels: int, num_classes: int) -> nn.Module:
        net = make(channels, num_classes)
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)
        return net

    made.__doc__ = f"{make.__name__.replace('_', '-')} from weights of kaiming-normal size (He et al., 2015)"
    return made
