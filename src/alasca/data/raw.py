"""Raw samples as a run's networks want them: files, arrays, data frames and texts that training has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alasca.data.pictures import Decoder, PictureFiles
from alasca.data.sources.arrays import as_inputs
from alasca.data.sources.columns import table_numbers
from alasca.data.sources.table_files import framed
from alasca.data.text import Texts, encoded
from alasca.data.transform import Transform
from alasca.errors import InputError


def read_raw(transform: Transform, inputs: Any, tokens: Callable[[str], list[int]] | None) -> Tensor:
    """Samples as they are kept: ``[N, C, H, W]`` bytes, ``[N, D]`` numbers or ``[N, T]`` token ids.

    Args:
        transform: of the run.
        inputs: paths or arrays of pictures, rows of numbers, a data frame, or texts.
        tokens: the tokenizer of texts.

    Raises:
        InputError: they are of another kind than the run was trained on.
    """
    if transform.kind == "texts":
        texts = [inputs] if isinstance(inputs, str) else list(inputs)
        if tokens is None or not all(isinstance(text, str) for text in texts):
            raise InputError("predict: expected a list of texts")
        return encoded(Texts(tuple(texts)), tokens, transform.length, transform.padding)
    if transform.columns and not isinstance(inputs, pd.DataFrame):
        rows = isinstance(inputs, Sequence) and bool(inputs) and isinstance(inputs[0], Mapping)
        inputs = pd.DataFrame(inputs) if isinstance(inputs, Mapping) or rows else inputs
    if isinstance(inputs, pd.DataFrame):
        if not transform.columns:
            raise InputError(f"predict: a data frame, but the run was trained on {transform.kind}, not on columns")
        return torch.from_numpy(table_numbers(framed("predict", inputs), transform.columns))
    if isinstance(inputs, (str, Path)):
        inputs = [inputs]
    if isinstance(inputs, (np.ndarray, pd.Series)) and inputs.dtype.kind in "OUS":
        inputs = list(inputs)
    if not isinstance(inputs, Iterable):
        raise InputError(f"predict: {inputs!r}; expected several samples")
    if isinstance(inputs, Sequence) and inputs and isinstance(inputs[0], (str, Path)):
        return decoded(transform, [Path(path) for path in inputs])
    array = inputs.detach().cpu().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
    if not len(array):
        return torch.zeros(0, *array.shape[1:], dtype=torch.uint8 if transform.kind == "pictures" else torch.float32)
    values = as_inputs(Path("predict"), "inputs", array)
    if (values.dtype == torch.uint8) != (transform.kind == "pictures"):
        raise InputError(f"predict: {array.dtype} {list(array.shape)}, but the run was trained on {transform.kind}")
    channels = None if transform.mean is None else len(transform.mean)
    if channels is not None and values.shape[1] != channels:
        raise InputError(
            f"predict: inputs {list(array.shape)} have {values.shape[1]} channels or columns, not {channels}"
        )
    return values


def decoded(transform: Transform, paths: Sequence[Path]) -> Tensor:
    """Pictures from files, resized as those of the run were."""
    if transform.size is None:
        raise InputError(f"predict: paths, but the run was trained on {transform.kind} in arrays; pass arrays")
    decoder = Decoder(PictureFiles(tuple(paths)), transform.size, transform.keep_ratio, transform.span)
    pictures, wrong, spans, _ = decoder.measured(list(range(len(paths))))
    if wrong:
        first = min(wrong)
        raise InputError(f"predict: {paths[first]} can't be read as a picture ({wrong[first]})")
    if spans and transform.span is None:
        raise InputError("predict: pictures of more than 8 bits, but the run was trained on pictures of 8")
    return pictures
