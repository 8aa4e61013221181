"""Networks that read token ids, trained from scratch: a bag of words and pairs of words, and a small transformer."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Tokens(NamedTuple):
    """What token ids mean: how many there are, which one is padding, which, if any, stands for the unknown."""

    size: int
    padding: int
    unknown: int | None = None


class Bag(nn.Module):
    """Weighted sum of embeddings of a text's words and of its pairs of neighbouring words, of unit weight.

    Rare words weigh more: ids run from the most frequent word to the rarest, and the logarithm of the rank stands for
    the inverse document frequency (Zipf's law). Pairs are hashed (Weinberger et al., 2009) and weigh as the rarest
    word.
    """

    SCALE = 3.0
    """Norm of a text's weights: with it, embeddings learn as fast as other layers do."""

    def __init__(self, tokens: Tokens, width: int, pairs: int) -> None:
        super().__init__()
        self.padding_index = tokens.padding
        self.words = nn.Embedding(tokens.size, width, padding_idx=tokens.padding)
        self.pairs = nn.Embedding(pairs, width)
        with torch.no_grad():
            self.words.weight.mul_(0.05)
            self.pairs.weight.mul_(0.05)
        self.register_buffer("weight", torch.log(torch.arange(tokens.size) + 2.0), persistent=False)
        self.pair_weight = math.log(tokens.size + 2.0)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids ``[B, T]`` to ``[B, width]``."""
        if tokens.shape[1] < 2:  # one word has no neighbour
            tokens = F.pad(tokens, (0, 1), value=self.padding_index)
        there = tokens != self.padding_index
        assert isinstance(self.weight, Tensor)
        words = self.weight[tokens] * there
        pairs = (there[:, 1:] & there[:, :-1]).to(words.dtype) * self.pair_weight
        hashed = (tokens[:, :-1] * 1_000_003 + tokens[:, 1:] * 7_919) % self.pairs.num_embeddings
        norm = (words.square().sum(1) + pairs.square().sum(1)).clamp(min=1e-6).sqrt()
        found = weighted(tokens, self.words, words) + weighted(hashed, self.pairs, pairs)
        return found * (self.SCALE / norm)[:, None].to(found.dtype)


def weighted(index: Tensor, table: nn.Embedding, weights: Tensor) -> Tensor:
    """The weighted sum of embeddings ``[B, width]`` at `index` ``[B, T]``."""
    return F.embedding_bag(index, table.weight, mode="sum", per_sample_weights=weights.to(table.weight.dtype))


class TextBag(nn.Module):
    """A bag of words and pairs, and one hidden layer beside it; a linear layer reads both.

    On short texts it is level with a linear classifier of TF-IDF weights, and learns in seconds.

    Args:
        tokens: of the vocabulary.
        num_classes: K.
        width: of the embeddings and of the hidden layer.
        pairs: of words are hashed into so many.
    """

    def __init__(self, tokens: Tokens, num_classes: int, width: int = 128, pairs: int = 1 << 15) -> None:
        super().__init__()
        self.bag = Bag(tokens, width, pairs)
        self.hidden = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.5))
        self.classifier = nn.Linear(2 * width, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids ``[B, T]`` to logits ``[B, K]``."""
        found = self.bag(tokens)
        logits: Tensor = self.classifier(torch.cat([found, self.hidden(found)], 1))
        return logits


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
