"""VGG-19 for 32x32 pictures, with BatchNorm or without (Simonyan and Zisserman, 2015)."""

from __future__ import annotations

from torch import Tensor, nn

from alasca.networks.resnet import stage_ends

STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Width and convolutions of each stage; a max-pool ends each."""


class VGG(nn.Module):
    """Five stages of 3x3 convolutions, each halving the picture, and one linear layer."""

    def __init__(self, channels: int, num_classes: int, batch_norm: bool) -> None:
        super().__init__()
        names = [f"stage{k}" for k in range(1, len(STAGES) + 1)]
        stages = []
        for width, count in STAGES:
            layers: list[nn.Module] = []
            for _ in range(count):
                layers.append(nn.Conv2d(channels, width, 3, 1, 1))
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                layers.append(nn.ReLU())
                channels = width
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.features = nn.Sequential()
        for name, stage in zip(names, stages, strict=True):
            self.features.add_module(name, stage)
        self.classifier = nn.Linear(channels, num_classes)
        self.feature_info = stage_ends([f"features.{name}" for name in names], [width for width, _ in STAGES])

    def forward(self, x: Tensor) -> Tensor:
        """Pictures ``[B, C, H, W]`` of 32x32 pixels or more to logits ``[B, K]``."""
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


def vgg19_bn(channels: int, num_classes: int) -> VGG:
    """VGG-19 with BatchNorm for 32x32 pictures: 20.0 million parameters"""
    return VGG(channels, num_classes, True)


def vgg19(channels: int, num_classes: int) -> VGG:
    """VGG-19 without BatchNorm for 32x32 pictures: 20.0 million parameters"""
    return VGG(channels, num_classes, False)
