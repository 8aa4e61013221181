"""Small data sets in the exact layouts in which large ones are published."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def pixels(count: int, seed: int = 0) -> np.ndarray:
    """Random pictures ``[count, 3072]`` as CIFAR keeps them."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


def dump(path: Path, value: Any) -> None:
    """A pickle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol=4))


def cifar10_python(root: Path, each: int = 10) -> Path:
    """``cifar-10-batches-py`` with `each` pictures a batch; labels 0 to 9 in turn."""
    folder = root / "cifar-10-batches-py"
    for k, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        labels = [j % 10 for j in range(each)]
        names = [f"{j}.png" for j in range(each)]
        dump(folder / name, {"batch_label": name, "labels": labels, "data": pixels(each, k), "filenames": names})
    dump(folder / "batches.meta", {"num_cases_per_batch": each, "label_names": list(TEN), "num_vis": 3072})
    return root


def cifar100_python(root: Path, each: int = 2) -> Path:
    """``cifar-100-python`` with `each` pictures a fine class; coarse class of a fine one: its last digit and more."""
    folder = root / "cifar-100-python"
    for k, name in enumerate(("train", "test")):
        fine = [j % 100 for j in range(100 * each)]
        dump(folder / name, {
            "filenames": [f"{j}.png" for j in range(len(fine))], "batch_label": name, "fine_labels": fine,
            "coarse_labels": [coarse(label) for label in fine], "data": pixels(len(fine), k),
        })  # fmt: skip
    dump(folder / "meta", {"fine_label_names": [f"fine{k:02d}" for k in range(100)], "coarse_label_names": []})
    return root


def coarse(fine: int) -> int:
    """A superclass of five fine classes that are not neighbours: 20 of them."""
    return fine % 20


def cifar10_binary(root: Path, each: int = 10) -> Path:
    """``cifar-10-batches-bin``: the same pictures as records of a label byte and 3,072 pixels."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for k, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        labels = np.arange(each, dtype=np.uint8)[:, None] % 10
        (folder / f"{name}.bin").write_bytes(np.concatenate([labels, pixels(each, k)], 1).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(TEN) + "\n\n")
    return root


def cifar100_binary(root: Path, each: int = 2) -> Path:
    """``cifar-100-binary``: records of a coarse byte, a fine byte and 3,072 pixels."""
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    for k, name in enumerate(("train", "test")):
        fine = np.arange(100 * each) % 100
        labels = np.stack([[coarse(int(label)) for label in fine], fine], 1).astype(np.uint8)
        (folder / f"{name}.bin").write_bytes(np.concatenate([labels, pixels(len(fine), k)], 1).tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(f"fine{k:02d}" for k in range(100)))
    return root


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> None:
    """A small JPEG or PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(array).save(path)


def clothing1m(root: Path, texts: str = ".", images: str = "images", each: int = 3) -> Path:
    """Clothing1M with `each` pictures a class in each list."""
    names = [f"class {k}" for k in range(14)]
    folder = root / texts
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "category_names_eng.txt").write_text("\n".join(names))
    (folder / "category_names_chn.txt").write_text("\n".join(names))
    kept: dict[str, list[str]] = {"noisy": [], "clean": []}
    for n, part in enumerate(("noisy_train", "clean_val", "clean_test")):
        keys = []
        for k in range(14 * each):
            key = f"images/{k % 10}/{k % 100:02d}/{part}{k}.jpg"
            picture(
                root / key.replace("images", images, 1) if images else root / key.removeprefix("images/"), 97 * n + k
            )
            kept[part.partition("_")[0]].append(f"{key} {k % 14}")
            keys.append(key)
        (folder / f"{part}_key_list.txt").write_text("\n".join(keys) + "\n")
    (folder / "clean_train_key_list.txt").write_text("")
    for kind, lines in kept.items():
        (folder / f"{kind}_label_kv.txt").write_text("\n".join(lines) + "\n")
    return root


def webvision(root: Path) -> Path:
    """WebVision with two pictures of each of 52 classes to train on, one to test."""
    for name, count in (("train_filelist_google", 2), ("val_filelist", 1)):
        lines = []
        for k in range(52 * count):
            label = k % 52
            file = f"google/q{label:04d}/{k}.jpg" if name.startswith("train") else f"val{k:06d}.jpg"
            picture(root / file if name.startswith("train") else root / "val_images_256" / file, k)
            lines.append(f"{file} {label}")
        (root / "info").mkdir(exist_ok=True)
        (root / "info" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    synsets = [f"n{k:08d} name{k}, other name" for k in range(60)]
    (root / "info" / "synsets.txt").write_text("\n".join(synsets))
    return root


def bert(folder: Path) -> str:
    """A tiny BERT with a tokenizer of ten words, saved as its library saves them."""
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "free", "money", "now", "hello", "friend"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizerFast(vocab={word: k for k, word in enumerate(words)})
    tokenizer.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=10, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return f"hf:{folder}"
