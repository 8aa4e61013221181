"""Texts, and the tokens that a network reads: words of the training set by number, or a network's own tokens."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PADDING, UNKNOWN = 0, 1
UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Letters of languages without spaces between words: Thai, Lao, Tibetan, Burmese, Khmer, Japanese, Chinese."""
MARKS = "".join(chr(k) for k in range(0x300, 0xABFF) if unicodedata.category(chr(k)) in ("Mn", "Mc"))
"""Signs that belong to the letter before, as the vowels of Hindi, Tamil and Arabic."""
WORD = re.compile(rf"[{UNSPACED}]+|[^\W{UNSPACED}][^\W{UNSPACED}{MARKS}]*(?:[{MARKS}]+[^\W{UNSPACED}]*)*|[^\w\s]")
RUN = re.compile(rf"[{UNSPACED}]")
Tokenizer = Callable[[str], list[int]]


@dataclass(frozen=True)
class Texts:
    """Texts of N samples, before they are tokens."""

    values: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    def subset(self, rows: Tensor) -> Texts:
        """Some of the texts."""
        return Texts(tuple(self.values[k] for k in rows.tolist()))

    def fingerprint(self) -> Iterator[bytes]:
        """The texts, one after another."""
        for value in self.values:
            yield value.encode() + b"\0"


def words(text: str) -> list[str]:
    """Words and marks of a text, in lower case and compatible Unicode form (NFKC); where a language sets no spaces
    between words, letters and pairs of letters.

    >>> words("Check out MY channel!!"), words("很好吃, ok")
    (['check', 'out', 'my', 'channel', '!', '!'], ['很', '很好', '好', '好吃', '吃', ',', 'ok'])
    """
    found: list[str] = []
    for word in WORD.findall(unicodedata.normalize("NFKC", text).lower()):
        if RUN.match(word):
            for k, letter in enumerate(word):
                found += [letter, word[k : k + 2]] if k + 1 < len(word) else [letter]
        else:
            found.append(word)
    return found


class Vocabulary:
    """Numbers for words: 0 is padding, 1 every word that is not known.

    >>> vocabulary = Vocabulary.of(["a b a", "b c a"])
    >>> vocabulary.tokens("a c z b"), len(vocabulary)
    ([2, 1, 1, 3], 4)
    """

    def __init__(self, known: Sequence[str]) -> None:
        self.known = tuple(known)
        self.number = {word: k for k, word in enumerate(self.known, start=UNKNOWN + 1)}

    @classmethod
    def of(cls, texts: Sequence[str], least: int = 2, most: int = 20_000) -> Vocabulary:
        """The words that come `least` times or more, at most `most` of them, the most frequent first."""
        counts = Counter(word for text in texts for word in words(text))
        ranked = sorted((word for word, count in counts.items() if count >= least), key=lambda w: (-counts[w], w))
        return cls(ranked[:most])

    def __len__(self) -> int:
        return len(self.known) + UNKNOWN + 1

    def tokens(self, text: str) -> list[int]:
        """Numbers of a text's words."""
        return [self.number.get(word, UNKNOWN) for word in words(text)]


def encoded(texts: Texts, tokenizer: Tokenizer, max_length: int, padding: int = PADDING) -> Tensor:
    """Token ids ``[N, max_length]``, int64: texts are cut or padded at their end; an empty one is one unknown word."""
    found = torch.full((len(texts), max_length), padding, dtype=torch.int64)
    for row, text in enumerate(texts.values):
        tokens = tokenizer(text)[:max_length] or [UNKNOWN]
        found[row, : len(tokens)] = torch.tensor(tokens)
    return found
