"""A small transformer that reads token ids, trained from scratch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Tokens(NamedTuple):
    """What token ids mean: how many there are, which one is padding, which, if any, stands for the unknown."""

    size: int
    padding: int
    unknown: int | None = None


class TextTransformer(nn.Module):
    """Embeddings of words and places, four encoder layers of width 64, the mean over words, a linear layer.

    `padding_index` tells sub-classifiers which tokens are no words.

    Args:
        tokens: of the vocabulary.
        length: of the longest text, in tokens.
        num_classes: K.
    """

    def __init__(self, tokens: Tokens, length: int, num_classes: int, width: int = 64, layers: int = 4) -> None:
        super().__init__()
        self.padding_index = tokens.padding
        self.words = nn.Embedding(tokens.size, width, padding_idx=tokens.padding)
        self.places = nn.Parameter(torch.randn(length, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids ``[B, T]`` to logits ``[B, K]``."""
        padding = tokens == self.padding_index
        x = self.words(tokens) + self.places[: tokens.shape[1]]
        x = self.norm(self.encoder(x, src_key_padding_mask=padding))
        kept = (~padding)[..., None].to(x.dtype)
        logits: Tensor = self.classifier((x * kept).sum(1) / kept.sum(1).clamp(min=1))
        return logits
