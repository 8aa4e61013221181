"""Data that lie: absurd heads, code in pickles, pipes among pictures, names that steer terminals, settings that are none."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from breaking import Attempt, here, require_line

LINE = [
    "train",
    "--epochs",
    "1",
    "--batch-size",
    "4",
    "--device",
    "cpu",
    "--threads",
    "1",
    "--checkpoint-seconds",
    "1e9",
]
ROWS = 12


class Payload:
    """Writes a file where it is unpickled."""

    def __init__(self, trap: Path) -> None:
        self.trap = trap

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.trap, "it ran"))


def array(content: Any) -> bytes:
    """An array as a NumPy file."""
    file = io.BytesIO()
    np.save(file, content, allow_pickle=True)
    return file.getvalue()


def head(text: str, version: tuple[int, int] = (1, 0), rest: bytes = b"") -> bytes:
    """A NumPy file with such a head."""
    written = text.encode("latin1") + b"\n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(written))
    return b"\x93NUMPY" + bytes(version) + length + written + rest


def archive(path: Path, **members: Any) -> Path:
    """An archive of such members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content if isinstance(content, bytes) else array(content))
    return path


X, Y = np.random.default_rng(0).normal(size=(ROWS, 3)), np.arange(ROWS) % 3
DTYPE = "{'descr': '<f8', 'fortran_order': False, 'shape': "
HEADS = {
    "2^60 numbers": head(DTYPE + f"({2**60},), }}"), "2^63 numbers": head(DTYPE + f"({2**63}, 2), }}"),
    "2^40 rows": head(DTYPE + f"({2**40}, 3), }}"), "below nothing": head(DTYPE + "(-1, 3), }"),
    "a text for a shape": head(DTYPE + "'many', }"), "half a row": head(DTYPE + "(1.5, 3), }"),
    "objects": head("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", rest=pickle.dumps([1, 2])),
    "a call": head("{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (2,), }"),
    "a type of nothing": head("{'descr': '<q99', 'fortran_order': False, 'shape': (2,), }"),
    "deep": head("(" * 5000 + ")" * 5000), "a wrong version": head(DTYPE + "(2,), }", (9, 0)),
    "long": head(" " * 60_000), "a later version": head(DTYPE + "(2,), }", (2, 0), b"x"), "no head": b"\x93NUMPY",
    "nothing": b"", "text": b"a,b\n1,2\n", "many axes": head(DTYPE + f"({'1, ' * 70}), }}"),
    "records": array(np.zeros(ROWS, dtype=[("a", "<f8"), ("b", "<i4")])),
}  # fmt: skip
LABELS = {
    "2^70": np.array([2.0**70] * ROWS), "2^64 - 1": np.full(ROWS, 2**64 - 1, dtype=np.uint64), "-1": np.full(ROWS, -1),
    "halves": np.arange(ROWS) / 2, "not a number": np.full(ROWS, np.nan), "infinity": np.full(ROWS, np.inf),
    "dates": np.array(["2020-01-01"] * ROWS, dtype="datetime64[D]"), "complex": Y * 1j, "of two axes": Y[:, None],
    "too few": Y[:5], "none": Y[:0], "of one class": Y * 0, "objects": np.array([None] * ROWS, dtype=object),
    "lone surrogates": np.array(["\ud800a", "b"] * (ROWS // 2)),
}  # fmt: skip
INPUTS = {
    "2^1000": np.array([["1" * 300] * 3] * ROWS), "not a number": np.full((ROWS, 3), np.nan),
    "infinite in float32": np.full((ROWS, 3), 1e300), "of no columns": np.zeros((ROWS, 0)), "of five axes": np.zeros((2,) * 5),
    "complex": X * 1j, "a number": np.array(5.0), "bytes of two channels": np.zeros((ROWS, 2, 4, 5, 6), np.uint8),
}  # fmt: skip
TABLES = {
    "ragged.csv": b"a,label\n1,x\n2\n", "nul.csv": b"a,label\n1,\0\n2,y\n", "utf16.csv": "a,label\n1,x\n".encode("utf-16"),
    "twice.csv": b"a,a,label\n1,2,x\n", "quote.csv": b'a,label\n"1,x\n2,y\n', "wide.csv": b"a,label\n" + b"1," * 200_000 + b"x\n",
    "long.csv": b"a,label\n" + b"9" * 200_000 + b",x\n", "empty.csv": b"", "head.csv": b"a,label\n",
    "infinite.csv": b"a,label\ninf,x\n1e999,y\n", "classes.csv": b"a,label\n1,x\r\x1b[2J\n2,y\n",
    "deep.jsonl": b"[" * 100_000, "list.jsonl": b"[1]\n", "surrogate.jsonl": b'{"a": 1, "label": "\\ud800"}\n{"a": 2, "label": "y"}\n',
    "column.jsonl": b'{"\\ud800": 1, "label": "x"}\n{"\\ud800": 2, "label": "y"}\n', "nested.jsonl": b'{"a": {"b": 1}, "label": "x"}\n',
    "number.jsonl": b'{"a": 1' + b"0" * 5000 + b', "label": "x"}\n', "lists.jsonl": b'{"a": 1, "label": ["x"]}\n{"a": 2, "label": "y"}\n',
    "broken.parquet": b"PAR1" + b"\0" * 50 + b"PAR1", "short.parquet": b"PAR1", "pickle.parquet": b"", "table.exe": b"MZ",
}  # fmt: skip
CONFIGS = {
    "a section": "[training]\nepochs = 1\n", "an unknown key": "epoch = 3\n", "an unknown key in a list": "[[x]]\ny = 1\n",
    "a fraction": "epochs = 1.5\n", "fractions": "milestones = [1.6]\n", "a text": 'epochs = "many"\n', "a date": "epochs = 2020-01-01\n",
    "not a number": "lr = nan\n", "infinity": "lr = inf\n", "below nothing": "batch_size = -4\n", "2^70": f"epochs = {2**70}\n",
    "twice": "epochs = 1\nepochs = 2\n", "deep": "a = " + "[" * 5000 + "]" * 5000, "no TOML": "epochs: 1\n", "true": "epochs = true\n",
    "turned round": "no-alasca = true\n", "a table": "set = {a = 1}\n", "bytes": "\x00", "a dotted key": "a.b = 1\n",
    "a list for a number": "lr = [1, 2]\n",
}  # fmt: skip


def attempts() -> Iterator[Attempt]:
    """All of them."""
    for name, content in HEADS.items():
        yield f"npz, a head of {name}", refused(lambda own, content=content: npz(own, x=content, y=Y))
        yield f"npy, a head of {name}", refused(lambda own, content=content: npy(own, x=content, y=array(Y)))
        yield f"npy labels, a head of {name}", refused(lambda own, content=content: npy(own, x=array(X), y=content))
    for name, labels in LABELS.items():
        yield f"npz, labels {name}", refused(lambda own, labels=labels: npz(own, x=X, y=labels))
    for name, inputs in INPUTS.items():
        yield f"npz, inputs {name}", refused(lambda own, inputs=inputs: npz(own, x=inputs, y=Y))
    yield "npz, duplicate classes", refused(lambda own: npz(own, x=X, y=Y, classes=np.array(["a", "a", "b"])))
    yield "npz, classes of two axes", refused(lambda own: npz(own, x=X, y=Y, classes=np.array([["a"], ["b"], ["c"]])))
    yield "npz, a bomb", refused(bomb)
    for name, content in TABLES.items():
        yield f"table, {name}", refused(partial(table, name, content))
    for name, text in CONFIGS.items():
        yield f"settings, {name}", refused(partial(config, text), ("train", "--device", "cpu"))
    for kind in ("pickle", "pipe", "device", "bomb", "empty", "cut", "text", "svg", "eps"):
        yield f"pictures, a {kind}", refused(partial(folder, kind))
    for suffix in ("npz", "pt", "npy", "csv"):
        yield f"noise, a pickle in .{suffix}", refused(partial(noise, suffix))
    yield "cifar10, a pickle", refused(cifar)
    yield "names that steer a terminal", steers


def refused(make: Callable[[Path], list[str]], line: tuple[str, ...] = LINE) -> Callable[[Path], None]:
    """Data that end in a line, with nothing written and nothing run."""

    def attempt(own: Path) -> None:
        data = own / "data"
        data.mkdir()
        (own / "here").mkdir()
        said = here(*line, *make(data), "--out", "run", cwd=own / "here")
        require_line(said, 2, notes=1)
        assert not list((own / "here").iterdir()), "something was written"
        assert not (data / "trap").exists(), "it ran"
        for advice in ("allow_pickle", "weights_only", "unsafe", "re-running", "trust the file"):
            assert advice not in said.err, said.err

    return attempt


def npz(own: Path, **members: Any) -> list[str]:
    """An archive."""
    return ["--data", f"npz:{archive(own / 'd.npz', **members)}"]


def npy(own: Path, **members: bytes) -> list[str]:
    """A folder of NumPy files."""
    for name, content in members.items():
        (own / f"{name}.npy").write_bytes(content)
    return ["--data", f"npy:{own}"]


def bomb(own: Path) -> list[str]:
    """An archive of a few kilobytes that would take terabytes."""
    text = head(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({1 << 40}, 3), }}")
    with zipfile.ZipFile(own / "d.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", text + bytes(1 << 24))
        file.writestr("y.npy", array(Y))
    return ["--data", f"npz:{own / 'd.npz'}"]


def table(name: str, content: bytes, own: Path) -> list[str]:
    """A table."""
    (own / name).write_bytes(content or (pickle.dumps(Payload(own / "trap")) if "pickle" in name else b""))
    return ["--data", f"table:{own / name}"]


def config(text: str, own: Path) -> list[str]:
    """A file of settings."""
    (own / "c.toml").write_text(text)
    return ["--config", str(own / "c.toml")]


def folder(kind: str, own: Path) -> list[str]:
    """Two folders of pictures, something else among them."""
    for name in "ab":
        (own / "p" / name).mkdir(parents=True)
        for k in range(4):
            Image.fromarray(np.full((8, 8, 3), 30 * k, np.uint8)).save(own / "p" / name / f"{k}.png")
    odd = own / "p" / "a" / "odd.png"
    whole = (own / "p" / "a" / "0.png").read_bytes()
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "device":
        odd.symlink_to("/dev/zero")
    else:
        chunk = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        large = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
        contents = {
            "pickle": pickle.dumps(Payload(own / "trap")), "bomb": large, "empty": b"", "cut": whole[:40], "text": b"hello",
            "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        }  # fmt: skip
        odd.write_bytes(contents[kind])
    return ["--data", f"folder:{own / 'p'}", "--image-size", "8"]


def noise(suffix: str, own: Path) -> list[str]:
    """Labels or a matrix that would run."""
    file, payload = own / f"n.{suffix}", Payload(own / "trap")
    if suffix == "pt":
        torch.save({"y": payload}, file)
    elif suffix == "npz":
        archive(file, y=array(np.array([payload], dtype=object)))
    else:
        file.write_bytes(array(np.array([payload], dtype=object)) if suffix == "npy" else pickle.dumps(payload))
    return ["--noise", f"file:{file}#y" if suffix in ("pt", "npz") else f"matrix:{file}"]


def cifar(own: Path) -> list[str]:
    """A release whose lists would run."""
    root = own / "cifar-10-batches-py"
    root.mkdir()
    for name in ("batches.meta", "test_batch", *(f"data_batch_{k}" for k in range(1, 6))):
        (root / name).write_bytes(pickle.dumps(Payload(own / "trap")))
    return ["--data", "cifar10", "--data-dir", str(own), "--no-checksums"]


def steers(own: Path) -> None:
    """Classes, ids and columns of strange names train and are shown as codes; what machines join stays exact."""
    odd = "\x1b[31m=cmd\u202e<script>alert(1)</script>"
    rows = [{"\x1b]0;x\x07col": k, "label": [odd, "cat"][k % 2], "id": f"{odd}{k}"} for k in range(16)]
    (own / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = own / "run"
    said = here(*LINE, "--data", f"table:{own / 't.jsonl'}", "--input", "\x1b]0;x\x07col", "--out", str(run))
    assert said.code == 0, said.err
    said = here("report", str(run), "--spreadsheet", str(own / "s.csv"))
    assert said.code == 0, said.err
    for text in (said.out, said.err):
        assert all(letter.isprintable() or letter in "\n\t" for letter in text), repr(text)
    page = (run / "report.html").read_text()
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert odd in (run / "samples.csv").read_text()
