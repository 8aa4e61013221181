"""Checkpoints are whole or not there, damage is noticed, and nothing that is read can execute."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from alasca import InputError, checkpoint
from alasca.files import read_json, read_tensors
from alasca.runs import RunFolder
from alasca.training import resume
from doors import ran


class Payload:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.write_text, (self.trace, "executed"))


def test_keeps_the_last_two(tmp_path: Path):
    for k in range(5):
        checkpoint.save(tmp_path, {"x": torch.tensor([k])}, {"k": k})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["00000004", "00000005"]
    tensors, values = checkpoint.load(tmp_path)
    assert tensors["x"].item() == 4
    assert values == {"k": 4}


@pytest.mark.parametrize("name", ["tensors.safetensors", "values.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "empty"])
def test_a_damaged_one_falls_back_and_says_so(tmp_path: Path, name: str, damage: str):
    for k in range(2):
        checkpoint.save(tmp_path, {"x": torch.arange(100) + k}, {"k": k, "text": "x" * 50})
    file = tmp_path / "00000002" / name
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    with pytest.warns(UserWarning, match="00000002 is damaged.*using the one before"):
        _, values = checkpoint.load(tmp_path)
    assert values["k"] == 0


def test_no_whole_checkpoint_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="no whole checkpoint"):
        checkpoint.load(tmp_path)
    checkpoint.save(tmp_path, {"x": torch.zeros(1)}, {})
    (tmp_path / "00000001" / "values.json").write_text("{}x")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(InputError, match="no whole checkpoint"):
        checkpoint.load(tmp_path)


def test_leftovers_of_a_kill_are_cleaned_up(tmp_path: Path):
    (tmp_path / ".00000001.tmp").mkdir(parents=True)
    (tmp_path / ".00000001.tmp" / "tensors.safetensors").write_bytes(b"half")
    checkpoint.save(tmp_path, {"x": torch.zeros(1)}, {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["00000001"]


def test_types_and_values_come_back_exactly(tmp_path: Path):
    tensors = {
        "half": torch.randn(3).half(), "int": torch.tensor(7), "bool": torch.tensor([True, False]),
        "strided": torch.randn(4, 6).T, "double": torch.randn(2, dtype=torch.float64), "empty": torch.zeros(0, 3),
        "brain": torch.randn(3).bfloat16(),
    }  # fmt: skip
    values = {"float": 0.1 + 0.2, "none": None, "text": "äö", "list": [1, [2]]}
    checkpoint.save(tmp_path, tensors, values)
    found, back = checkpoint.load(tmp_path)
    assert back == values
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def finished(tmp_path: Path, name: str = "run") -> RunFolder:
    return ran(tmp_path / name, noise="symmetric:0.4", limit=60, epochs=1, batch_size=32)


@pytest.mark.long
def test_a_planted_pickle_in_place_of_any_file_does_not_execute(tmp_path: Path):
    trace = tmp_path / "trace"
    payload = pickle.dumps(Payload(trace))
    pickle.loads(payload)  # noqa: S301  # ours, to see that it works
    assert trace.exists(), "the payload does nothing"
    trace.unlink()
    run = finished(tmp_path)
    whole = run.path
    files = [file.relative_to(whole) for file in whole.rglob("*") if file.is_file()]
    assert len(files) >= 10
    for file in files:
        run = RunFolder(shutil.copytree(whole, tmp_path / "copy", dirs_exist_ok=True))
        (run.path / file).write_bytes(payload)
        for action in (run.settings, run.labels, run.history, run.done, run.records, run.pictures):
            with contextlib.suppress(InputError):
                action()
        (run.path / "done.json").unlink()
        with contextlib.suppress(InputError, UserWarning):
            resume(run.path)
        shutil.rmtree(run.path)
        assert not trace.exists(), f"{file.name} executed"
    archive = tmp_path / "data.npz"
    archive.write_bytes(payload)
    with pytest.raises(InputError, match="no NumPy archive"):
        ran(tmp_path / "b", data=f"npz:{archive}")
    import numpy as np

    np.savez(archive, x=np.array([Payload(trace)], dtype=object), y=np.array([0]))
    with pytest.raises(InputError, match="no NumPy archive"):
        ran(tmp_path / "c", data=f"npz:{archive}")
    pictures = tmp_path / "pictures"
    for name in "ab":
        (pictures / name).mkdir(parents=True)
        (pictures / name / "x.png").write_bytes(payload)
    with pytest.raises(InputError, match=r"x\.png can't be read as a picture"):
        ran(tmp_path / "d", data=f"folder:{pictures}")
    assert not trace.exists()


def test_files_that_are_not_what_they_should_be_are_one_line(tmp_path: Path):
    (tmp_path / "a.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match="can't be read as JSON"):
        read_json(tmp_path / "a.json")
    (tmp_path / "b.safetensors").write_bytes(b"12345678901234567890")
    with pytest.raises(InputError, match="can't be read as safetensors"):
        read_tensors(tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="no such file"):
        read_tensors(tmp_path / "none")


def test_records_come_back_as_they_went(tmp_path: Path):
    run = finished(tmp_path)
    records = run.records()
    table = records.table()
    assert list(table.columns[:4]) == ["is_label_issue", "label_quality", "given_label", "predicted_label"]
    assert table["is_label_issue"].dtype == bool
    assert (run.path / "samples.csv").read_text() == table.to_csv(index=False, lineterminator="\n")
    assert len(records.ids) == 60
    assert json.loads((run.path / "done.json").read_text())["epochs"] == 1
