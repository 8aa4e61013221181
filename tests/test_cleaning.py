"""Clean, audit, repair, predict: from data with bad labels to better ones, and a model in use."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image

import alasca
from alasca import InputError, Place, Recipe, Task, train
from alasca.audit.checking import Answer, answers_in, checked, draw, sheet, texts_of, wilson
from alasca.audit.pages import write_issues
from alasca.audit.summary import summarise, to_review
from alasca.cli import main
from alasca.repair import decided, repair, undo
from alasca.repair.cells import rewritten
from alasca.repair.changes import Change, as_table
from alasca.runs import RunFolder

CLASSES = ("ant", "bee", "cat", "dog")
ROWS = 240


def noisy(share: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """True and given labels of `ROWS` samples."""
    rng = np.random.default_rng(seed)
    true = np.arange(ROWS) % len(CLASSES)
    given = true.copy()
    wrong = rng.permutation(ROWS)[: round(share * ROWS)]
    given[wrong] = (true[wrong] + rng.integers(1, len(CLASSES), len(wrong))) % len(CLASSES)
    return true, given


def write_table(path: Path, given: np.ndarray, true: np.ndarray) -> Path:
    """Numbers in columns, a column of vendors and one of labels."""
    rng = np.random.default_rng(1)
    points = np.eye(len(CLASSES))[true] + rng.normal(size=(ROWS, len(CLASSES))) * 0.38
    frame = pd.DataFrame(points.round(4), columns=[f"x{k}" for k in range(len(CLASSES))])
    frame.insert(2, "label", [CLASSES[k] for k in given])
    frame["vendor"] = np.where(np.arange(ROWS) % 3 == 0, "ACME, Ltd", "Bolt")
    frame.to_csv(path, index=False)
    return path


def in_arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of numbers, given and true labels: `noisy` in arrays."""
    true, given = noisy()
    points = np.eye(len(CLASSES))[true] + np.random.default_rng(1).normal(size=(ROWS, len(CLASSES))) * 0.38
    return points.astype(np.float32), given, true


def write_texts(path: Path, given: np.ndarray, true: np.ndarray) -> Path:
    """A text a row, of words that its class uses."""
    rng = np.random.default_rng(2)
    vocabulary = {k: [f"w{k}{j}" for j in range(6)] for k in range(len(CLASSES))}
    texts = [" ".join(rng.choice([*vocabulary[k], "and", "the"], 8)) for k in true]
    pd.DataFrame({"text": texts, "label": [CLASSES[k] for k in given]}).to_csv(path, index=False)
    return path


def write_folder(root: Path, given: np.ndarray, true: np.ndarray) -> Path:
    """Pictures in which another stripe is bright for each class, mirrored or not."""
    rng = np.random.default_rng(3)
    for k in range(len(given)):
        pixels = rng.integers(0, 90, (12, 12, 3), dtype=np.uint8)
        pixels[3 * true[k] : 3 * true[k] + 3] += 120
        path = root / CLASSES[given[k]] / f"{k:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return root


def say(arguments: list[str], code: int = 0) -> None:
    """Run a command and check its exit code."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == code, arguments


def cleaned(home: Path, data: str) -> RunFolder:
    """The run of `clean` on data, typed in their folder with no option."""
    with contextlib.chdir(home):
        say(["clean", data])
    (run,) = (home / "runs").iterdir()
    assert run.name.startswith("clean-")
    return RunFolder.open(run.rename(home / "run"))


@pytest.fixture(scope="module")
def table_run(tmp_path_factory) -> RunFolder:
    """A run of `clean` on a table of numbers."""
    home = tmp_path_factory.mktemp("table")
    true, given = noisy()
    write_table(home / "rows.csv", given, true)
    return cleaned(home, "rows.csv")


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory) -> RunFolder:
    """A run of `clean` on a folder of pictures."""
    home = tmp_path_factory.mktemp("folder")
    true, given = noisy()
    root = write_folder(home / "photos", given, true)
    (root / "notes.txt").write_text("mine")
    say(["clean", str(root), "--epochs", "12", "--batch-size", "16", "--image-size", "12", "--out", str(home / "run")])
    return RunFolder.open(home / "run")


@pytest.fixture(scope="module")
def text_run(tmp_path_factory) -> RunFolder:
    """A run of `clean` on a table of texts."""
    home = tmp_path_factory.mktemp("texts")
    true, given = noisy()
    write_texts(home / "texts.csv", given, true)
    return cleaned(home, "texts.csv")


# --- the way through


def test_a_table_of_numbers_all_the_way(table_run: RunFolder, tmp_path: Path, capsys):
    true, _ = noisy()
    source, repaired = table_run.path.parent / "rows.csv", table_run.path / "repaired" / "rows.csv"
    before, after = pd.read_csv(source), pd.read_csv(repaired)
    assert (after["label"] != np.array(CLASSES)[true]).mean() < 0.1
    pd.testing.assert_frame_equal(before.drop(columns="label"), after.drop(columns="label"))
    changes = pd.read_csv(table_run.path / "repaired" / "changes.csv")
    assert len(changes) == (before["label"] != after["label"]).sum() > 30
    lines = zip(source.read_bytes().split(b"\n"), repaired.read_bytes().split(b"\n"), strict=True)
    assert sum(old != new for old, new in lines) == len(changes)
    assert list(changes) == ["id", "given", "fixed", "probability", "decision"]
    labels = str(table_run.path / "repaired" / "labels.csv")
    again = str(tmp_path / "again")
    say(["train", "--data", f"table:{source}", "--labels", labels, "--epochs", "3", "--out", again])
    assert f"{len(changes)} of {ROWS} labels are others" in capsys.readouterr().out.replace("\n         ", " ")
    fixed = RunFolder.open(Path(again)).records()
    assert [fixed.name(k) for k in fixed.given] == after["label"].tolist()
    say(["predict", str(table_run.path), str(source), "--out", str(tmp_path / "p.csv")])
    found = pd.read_csv(tmp_path / "p.csv")
    assert list(found) == ["input", "predicted_label", "probability", *CLASSES]
    assert found["input"].tolist()[:2] == ["rows.csv/0", "rows.csv/1"]
    assert (found["predicted_label"] == np.array(CLASSES)[true]).mean() > 0.9
    assert found[list(CLASSES)].sum(axis=1).to_numpy() == pytest.approx(np.ones(ROWS), abs=1e-4)
    say(["export", str(table_run.path), "--to", "torch", "--out", str(tmp_path / "program")])
    program = torch.export.load(tmp_path / "program" / "model.pt2").module()
    rows = torch.from_numpy(before[[f"x{k}" for k in range(len(CLASSES))] + ["vendor"]].to_numpy()[:, :4].astype("f4"))
    read = alasca.load(table_run.path).read(before)
    assert torch.equal(read[:, :4], rows)  # the columns as they are, then those of the vendors
    np.testing.assert_allclose(program(read).detach().numpy(), found[list(CLASSES)].to_numpy(), atol=1e-5)


@pytest.mark.long
def test_a_folder_of_pictures_all_the_way(tmp_path: Path):
    true, given = (labels[: ROWS // 2] for labels in noisy())
    root = write_folder(tmp_path / "photos", given, true)
    (root / "notes.txt").write_text("mine")
    run = cleaned(tmp_path, "photos")
    tree = run.path / "repaired" / "photos"
    places = {int(path.stem): path.parent.name for path in tree.rglob("*.png")}
    assert len(places) == len(true)
    assert np.mean([places[k] != CLASSES[true[k]] for k in range(len(true))]) < 0.06
    assert (tree / "notes.txt").read_text() == "mine"
    one = next(root.rglob("*.png"))
    assert os.stat(one).st_nlink == 2  # a hard link, no copy
    say(["train", "--data", f"folder:{tree}", "--epochs", "2", "--out", str(tmp_path / "again")])
    say(["predict", str(run.path), str(root / "ant"), str(one), "--out", str(tmp_path / "p.csv")])
    found = pd.read_csv(tmp_path / "p.csv")
    assert len(found) == len(list((root / "ant").glob("*.png"))) + 1
    right = [CLASSES[true[int(Path(name).stem)]] for name in found["input"]]
    assert (found["predicted_label"] == right).mean() > 0.95
    say(["export", str(run.path), "--to", "onnx"])
    pixels = np.asarray(Image.open(one).convert("RGB").resize((32, 32))).transpose(2, 0, 1)[None]  # as the card says
    assert ".resize((32, 32))" in (run.path / "export-onnx" / "README.md").read_text()
    session = onnxruntime.InferenceSession(str(run.path / "export-onnx" / "model.onnx"))
    probabilities = session.run(None, {"inputs": pixels})[0][0]
    assert probabilities == pytest.approx(found[list(CLASSES)].to_numpy()[-1], abs=2e-3)  # in bf16, maybe


def test_texts_all_the_way(text_run: RunFolder, tmp_path: Path, capsys):
    true, _ = noisy()
    path = text_run.path.parent / "texts.csv"
    after = pd.read_csv(text_run.path / "repaired" / "texts.csv")
    assert (after["label"] != np.array(CLASSES)[true]).mean() < 0.1  # of 0.2
    labels = str(text_run.path / "repaired" / "labels.csv")
    say(["train", "--data", f"table:{path}", "--labels", labels, "--epochs", "2", "--out", str(tmp_path / "again")])
    assert (RunFolder.open(tmp_path / "again").records().given != true).mean() < 0.1
    capsys.readouterr()
    texts = ["w00 w01 w02 w03", 'w20, w21 and "w22" w24']
    say(["predict", str(text_run.path), *texts])
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert found["predicted_label"].tolist() == ["ant", "cat"]
    say(["predict", str(text_run.path), str(path), "--out", str(tmp_path / "p.csv")])
    assert (pd.read_csv(tmp_path / "p.csv")["predicted_label"] == np.array(CLASSES)[true]).mean() > 0.9
    say(["export", str(text_run.path), "--to", "torch", "--out", str(tmp_path / "program")])
    program = torch.export.load(tmp_path / "program" / "model.pt2").module()
    probabilities = program(alasca.load(text_run.path).read(texts)).detach().numpy()
    np.testing.assert_allclose(probabilities, found[list(CLASSES)].to_numpy(), atol=1e-5)


def test_what_clean_says(table_run: RunFolder, tmp_path: Path, capsys):
    say(["audit", str(table_run.path), "--by", "vendor"])
    told = capsys.readouterr().out
    assert told.startswith("About ")
    assert "sure enough to be changed (fix)" in told
    assert "wrong labels, 80% are among the" in told
    assert "vendor Bolt: about" in told.replace("\n  ", " ")
    page = (table_run.path / "summary.html").read_text()
    for words in ("By vendor", "ACME, Ltd", "Most suspicious labels", "By class", "rows.csv/"):
        assert words in page, words
    say(["audit", str(table_run.path), "--no-samples"])
    assert "rows.csv/" not in (table_run.path / "summary.html").read_text()
    say(["audit", str(table_run.path), "--by", "vendr"], 2)
    assert "did you mean 'vendor'" in capsys.readouterr().err


# --- tables, byte by byte


def copied(path: Path, content: bytes | str, labels: dict[int, str | None], donors: dict[str, int], label="label"):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return rewritten(path, label, labels, donors)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("plain.csv", "label,x\na,1\nb,2\na,3\n", "label,x\nb,1\nb,2\na,3\n"),
        ("windows.csv", "x,label\r\n1,a\r\n2,b\r\n", "x,label\r\n1,b\r\n2,b\r\n"),
        ("end.csv", "x,label\n1,a\n2,b", "x,label\n1,b\n2,b"),
        ("quoted.csv", 'x,label\n"1,\n""5""",a\n2,"b"\n', 'x,label\n"1,\n""5""","b"\n2,"b"\n'),
        ("semicolons.csv", "x;label\n1,5;a\n2,5;b\n", "x;label\n1,5;b\n2,5;b\n"),
        ("sep.csv", "sep=;\nx;label\n1;a\n2;b\n", "sep=;\nx;label\n1;b\n2;b\n"),
        ("tabs.tsv", "x\tlabel\n1\ta\n2\tb\n", "x\tlabel\n1\tb\n2\tb\n"),
        ("spaced.csv", "x, label, y\n1, a, 5\n2, b, 6\n", "x, label, y\n1, b, 5\n2, b, 6\n"),
        ("blank.csv", "x,label\n\n1,a\n\n\n2,b\n", "x,label\n\n1,b\n\n\n2,b\n"),
        ("mark.csv", "\ufeffx,label\n1,a\n2,b\n", "\ufeffx,label\n1,b\n2,b\n"),
        ("lines.jsonl", '{"x": 1, "label": "a"}\n{"label":"b", "x": {"label": "no"}}\n',
         '{"x": 1, "label": "b"}\n{"label":"b", "x": {"label": "no"}}\n'),
        ("list.json", '[\n {"x": "}{", "label":  "a" },\n {"x": 2, "label": "b"}\n]\n',
         '[\n {"x": "}{", "label":  "b" },\n {"x": 2, "label": "b"}\n]\n'),
    ],
)  # fmt: skip
def test_every_other_byte_is_as_it_was(tmp_path: Path, name: str, before: str, after: str):
    assert copied(tmp_path / name, before, {0: "b"}, {"b": 1}).decode() == after


def test_rows_are_left_out_with_their_line(tmp_path: Path):
    table = "x,label\n1,a\n2,b\n3,a\n"
    assert copied(tmp_path / "t.csv", table, {1: None}, {}).decode() == "x,label\n1,a\n3,a\n"
    assert copied(tmp_path / "t.csv", table, {2: None, 0: "b"}, {"b": 1}).decode() == "x,label\n1,b\n2,b\n"
    listed = '[{"label": "a"}, {"label": "b"}, {"label": "a"}]'
    for gone, left in (({0}, ["b", "a"]), ({2}, ["a", "b"]), ({1, 2}, ["a"]), ({0, 1, 2}, [])):
        found = json.loads(copied(tmp_path / "t.json", listed, dict.fromkeys(gone), {}))
        assert [row["label"] for row in found] == left
    lines = '{"label": "a"}\n{"label": "b"}\n'
    assert copied(tmp_path / "t.jsonl", lines, {0: None}, {}).decode() == '{"label": "b"}\n'


def test_other_codings_and_packed_tables(tmp_path: Path):
    table, after = "x,label\n1,ä\n2,b\n", "x,label\n1,b\n2,b\n"
    assert copied(tmp_path / "t.csv", table.encode("utf-16"), {0: "b"}, {"b": 1}) == after.encode("utf-16")
    packed = copied(tmp_path / "t.csv.gz", gzip.compress(table.encode()), {0: "b"}, {"b": 1})
    assert gzip.decompress(packed).decode() == after
    assert b'"a, ""c"""' in copied(tmp_path / "n.csv", "x,label\n1,b\n2,b\n", {0: 'a, "c"'}, {})  # nobody has it yet


def test_forms_that_can_t_be_found_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"can't be found byte by byte; write the changes into it yourself"):
        copied(tmp_path / "t.json", '{"x": [1, 2], "label": ["a", "b"]}', {0: "b"}, {"b": 1})


def test_parquet_keeps_schema_values_and_metadata(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    true, given = noisy()
    frame = pd.read_csv(write_table(tmp_path / "t.csv", given, true))
    table = pyarrow.Table.from_pandas(frame.astype({"label": "category"})).replace_schema_metadata({"mine": "kept"})
    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=100, compression="zstd")
    table = parquet.read_table(tmp_path / "rows.parquet")
    recipe = Recipe(data=f"table:{tmp_path / 'rows.parquet'}", epochs=6, val_fraction=0.0)
    run = train(recipe, folder=tmp_path / "run")
    found = repair(run)
    after = parquet.read_table(tmp_path / "run" / "repaired" / "rows.parquet")
    assert after.schema.equals(table.schema, check_metadata=True)
    assert after.drop_columns("label").equals(table.drop_columns("label"))
    changed = [old != new for old, new in zip(table["label"].to_pylist(), after["label"].to_pylist(), strict=True)]
    assert sum(changed) == len(found.changes) > 30
    written = parquet.ParquetFile(tmp_path / "run" / "repaired" / "rows.parquet").metadata
    assert (written.num_row_groups, written.row_group(0).column(0).compression) == (3, "ZSTD")
    numbered = pyarrow.table(
        {"x": frame["x0"], "y": frame["x1"], "z": frame["x2"], "w": frame["x3"], "label": given * 10}
    )
    parquet.write_table(numbered, tmp_path / "whole.parquet")
    recipe = Recipe(data=f"table:{tmp_path / 'whole.parquet'}", epochs=6, val_fraction=0.0)
    repair(train(recipe, folder=tmp_path / "numbers"))
    whole = parquet.read_table(tmp_path / "numbers" / "repaired" / "whole.parquet")
    assert whole.schema.equals(numbered.schema)
    assert (whole["label"].to_numpy() == true * 10).mean() > 0.9
    dropped = repair(run, "drop", tmp_path / "clean")
    assert len(parquet.read_table(tmp_path / "clean" / "rows.parquet")) == ROWS - len(dropped.changes)


# --- decisions


def test_all_and_drop(table_run: RunFolder, tmp_path: Path):
    records = table_run.records()
    fixes, everything, dropped = (decided(records, name) for name in ("fix", "all", "drop"))
    assert len(fixes) == (records.decision == "fix").sum() < len(everything) == len(dropped) == records.issue.sum()
    assert all(change.fixed is None for change in dropped)
    repair(table_run, "drop", tmp_path / "less")
    assert len(pd.read_csv(tmp_path / "less" / "rows.csv")) == ROWS - len(dropped)
    assert (as_table(dropped)["decision"] == "drop").all()
    labels = pd.read_csv(tmp_path / "less" / "labels.csv", keep_default_na=False)
    assert (labels["label"] == "").sum() == len(dropped)


def test_a_person_s_file_decides(table_run: RunFolder, tmp_path: Path):
    records = table_run.records()
    write_issues(records, tmp_path)
    table = pd.read_csv(tmp_path / "issues.csv")
    first, second, third = table.index[table["decision"] == "fix"][:3]
    table["decision"] = "keep"
    table.loc[[first, second, third], "decision"] = ["fix", "drop", "review"]
    table.to_csv(tmp_path / "mine.csv", index=False)
    changes = decided(records, str(tmp_path / "mine.csv"))
    assert [(change.row, change.fixed) for change in changes] == [
        (first, table["suggested"][first]), (second, None),
    ]  # fmt: skip
    (tmp_path / "short.csv").write_text("id,label\nrows.csv/3,ant\nrows.csv/4,\n")
    found = {change.id: change.fixed for change in decided(records, str(tmp_path / "short.csv"))}
    assert found["rows.csv/4"] is None
    assert found.get("rows.csv/3", "ant") == "ant"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "is no file; expected fix, all, drop, or a file of decisions"),
        ("id,x\nrows.csv/3,1\n", "has no column label; expected id and label"),
        ("id,label\nrows.csv/999,ant\n", "line 2: id 'rows.csv/999' is none of the run's"),
        ("id,label\nrows.csv/3,ant\nrows.csv/3,bee\n", "line 3: id 'rows.csv/3' comes twice"),
        ("id,label\nrows.csv/3,bea\n", "line 2: label 'bea' is no class of the run; did you mean 'bee'?"),
        ("id,decision,suggested\nrows.csv/3,maybe,bee\n", "is 'maybe'; expected keep, review, fix or drop"),
    ],
)  # fmt: skip
def test_bad_decisions_are_one_line_and_nothing_is_written(table_run, tmp_path: Path, capsys, content, words):
    path = tmp_path / "d.csv"
    if content is not None:
        path.write_text(content)
    say(["repair", str(table_run.path), "--apply", str(path), "--to", str(tmp_path / "new")], 2)
    error = capsys.readouterr().err
    assert words in error, error
    assert error.count("\n") == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == (["d.csv"] if content else [])


def test_nothing_of_yours_is_overwritten(table_run: RunFolder, tmp_path: Path, capsys):
    say(["repair", str(table_run.path)], 2)  # clean wrote it already
    assert "repaired is there already; choose another with --to" in capsys.readouterr().err
    source = table_run.path.parent / "rows.csv"
    before = source.read_bytes()
    say(["repair", str(table_run.path), "--dry-run", "--to", str(tmp_path / "new")])
    assert "nothing was written" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert source.read_bytes() == before
    try:
        source.write_bytes(before.replace(b"vendor", b"seller"))
        repair(table_run, to=tmp_path / "fits")  # another column's name changes nothing that was read by place
        head, *rows = before.splitlines(keepends=True)
        for other in (rows[::-1], [rows[7], *rows], [*rows[1:], rows[0]]):
            source.write_bytes(head + b"".join(other))
            with pytest.raises(InputError, match=r"rows\.csv line \d+: its label is not the one that the run read"):
                repair(table_run, to=tmp_path / "moved")
        assert not (tmp_path / "moved").exists()
        source.write_bytes(b"\n".join(before.split(b"\n")[:100]) + b"\n")
        with pytest.raises(InputError, match=r"has no row 'rows.csv/\d+' any more; put the run's table back"):
            repair(table_run, to=tmp_path / "short")
        assert not (tmp_path / "short").exists()
    finally:
        source.write_bytes(before)


# --- in place, and back


def test_a_table_in_place_and_back(table_run: RunFolder, tmp_path: Path):
    source = table_run.path.parent / "rows.csv"
    before = source.read_bytes()
    found = repair(table_run, to=tmp_path / "log", in_place=True)
    assert source.read_bytes() == (tmp_path / "log" / "rows.csv").read_bytes() != before
    assert "--undo takes it back" in found.notes[-1]
    changed = source.read_bytes()
    source.write_bytes(changed + b"\n")
    with pytest.raises(InputError, match="was changed since; its old bytes are in"):
        undo(tmp_path / "log")
    source.write_bytes(changed)
    assert undo(tmp_path / "log") == 1
    assert source.read_bytes() == before
    with pytest.raises(InputError, match=r"holds no undo.jsonl"):
        undo(tmp_path / "log")


def listing(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_folder_in_place_and_back(folder_run: RunFolder, tmp_path: Path):
    root = folder_run.path.parent / "photos"
    before = listing(root)
    found = repair(folder_run, "all", tmp_path / "log", in_place=True)
    after = listing(root)
    assert len(after) == len(before)
    assert sum(name not in before for name in after) == len(found.changes) > 30
    assert undo(tmp_path / "log") == len(found.changes)
    assert listing(root) == before
    repair(folder_run, "drop", tmp_path / "drop", in_place=True)
    assert len(listing(root)) == len(before) - len(found.changes)
    undo(tmp_path / "drop")
    assert listing(root) == before


def test_a_kill_in_the_midst_is_undone_too(folder_run: RunFolder, tmp_path: Path, monkeypatch):
    root = folder_run.path.parent / "photos"
    before = listing(root)
    done, move = [], __import__("shutil").move

    def dies(path, to):
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(move(path, to))

    monkeypatch.setattr("alasca.repair.moves.shutil.move", dies)
    with pytest.raises(KeyboardInterrupt):
        repair(folder_run, to=tmp_path / "log", in_place=True)
    monkeypatch.undo()
    assert listing(root) != before
    assert undo(tmp_path / "log") in (7, 8)  # the eighth was written down
    assert listing(root) == before


def test_names_that_clash(tmp_path: Path):
    true, given = noisy()
    root = write_folder(tmp_path / "photos", given, true)
    for folder in root.iterdir():  # the same names in every class
        for k, path in enumerate(sorted(folder.iterdir())):
            path.rename(folder / f"{k:03d}.png")
    run = train(Recipe(data=f"folder:{root}", epochs=6, image_size=12, val_fraction=0.0), folder=tmp_path / "run")
    before = listing(root)
    with pytest.raises(InputError, match=r"would take a name that is there already .*; add --rename"):
        repair(run)
    assert not (tmp_path / "run" / "repaired").exists()
    found = repair(run, rename=True)
    after = listing(tmp_path / "run" / "repaired" / "photos")
    assert sorted(after.values()) == sorted(before.values())
    assert any(name.split("/")[1].startswith(CLASSES) for name in after)
    repair(run, to=tmp_path / "log", in_place=True, rename=True)
    assert sorted(listing(root)) == sorted(after)
    assert undo(tmp_path / "log") >= len(found.changes)
    assert listing(root) == before


# --- arrays, and labels alone


def test_archives_and_labels_alone(tmp_path: Path):
    true, given = noisy()
    frame = pd.read_csv(write_table(tmp_path / "t.csv", given, true))
    x = frame[[f"x{k}" for k in range(4)]].to_numpy(dtype=np.float32)
    np.savez(tmp_path / "a.npz", x=x, y=given.astype(np.uint8), y_true=true, mine=np.arange(3))
    run = train(Recipe(data=f"npz:{tmp_path / 'a.npz'}", epochs=6, val_fraction=0.0), folder=tmp_path / "run")
    repair(run)
    made = np.load(tmp_path / "run" / "repaired" / "a.npz")
    assert (made["y"] != true).mean() < 0.1
    assert made["y"].dtype == np.uint8
    assert (made["mine"] == np.arange(3)).all()
    assert (made["x"] == x).all()
    dropped = repair(run, "drop", tmp_path / "less")
    less = np.load(tmp_path / "less" / "a.npz")
    assert len(less["x"]) == len(less["y"]) == len(less["y_true"]) == ROWS - len(dropped.changes)
    arrays = train(Recipe(epochs=6, val_fraction=0.0), Task.from_arrays(x, given), folder=tmp_path / "arrays")
    found = repair(arrays)
    assert found.data is None
    assert sorted(path.name for path in (tmp_path / "arrays" / "repaired").iterdir()) == ["changes.csv", "labels.csv"]
    with pytest.raises(InputError, match="only folders of pictures and tables are changed where they lie"):
        repair(arrays, to=tmp_path / "no", in_place=True)


# --- checked by hand


def test_a_folder_of_arrays_comes_back_with_other_labels(tmp_path: Path):
    """Changed labels in y.npy of its own type, everything else linked; rows that are dropped are in no array."""
    x, given, true = in_arrays()
    root = tmp_path / "set"
    root.mkdir()
    for name, array in {"x": x, "y": given.astype(np.uint8), "y_true": true, "other": np.arange(3)}.items():
        np.save(root / f"{name}.npy", array)
    run = train(Recipe(data=f"npy:{root}", epochs=6, val_fraction=0.0), folder=tmp_path / "run")
    found = repair(run)
    made = tmp_path / "run" / "repaired" / "set"
    assert found.data == f"npy:{made}"
    labels = np.load(made / "y.npy")
    assert labels.dtype == np.uint8
    changed = {int(change.id.rpartition("/")[2]): int(change.fixed or "-1") for change in found.changes}
    assert changed
    assert {row: int(labels[row]) for row in np.flatnonzero(labels != given)} == changed
    assert (made / "x.npy").stat().st_ino == (root / "x.npy").stat().st_ino
    assert np.load(made / "other.npy").tolist() == [0, 1, 2]
    dropped = repair(run, "drop", tmp_path / "less")
    less = tmp_path / "less" / "set"
    kept = np.setdiff1d(np.arange(len(x)), [int(change.id.rpartition("/")[2]) for change in dropped.changes])
    assert len(kept) < len(x)
    assert np.array_equal(np.load(less / "x.npy"), x[kept])
    assert np.load(less / "y.npy").tolist() == given[kept].tolist()
    assert np.load(less / "y_true.npy").tolist() == true[kept].tolist()
    assert np.load(root / "y.npy").tolist() == given.tolist()
    np.save(root / "y.npy", (given.astype(np.uint8) + 1) % len(CLASSES))
    with pytest.raises(InputError, match="not what the run read"):
        repair(run, "fix", tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(("named", "split"), [(True, True), (False, False)])
def test_a_hugging_face_set_comes_back_with_other_labels(named: bool, split: bool, tmp_path: Path):
    """Splits, order of columns and types as they were; the run's labels alone are others."""
    datasets = pytest.importorskip("datasets")
    x, given, _ = in_arrays()
    names = list(CLASSES)
    label = given.tolist() if named else [names[k] for k in given]
    made = datasets.Dataset.from_dict({"mark": label, "x": x.tolist(), "note": [f"n{k}" for k in range(len(x))]})
    made = made.cast_column("mark", datasets.ClassLabel(names=names)) if named else made
    path = tmp_path / "set"
    whole = datasets.DatasetDict({"train": made, "test": made.select(range(10))}) if split else made
    whole.save_to_disk(str(path))
    options = {"label": "mark", "input": "x", "epochs": 6, "val_fraction": 0.0}
    run = train(Recipe(data=f"hf:{path}", **options), folder=tmp_path / "run")
    found = repair(run)
    assert found.data == f"hf:{tmp_path / 'run' / 'repaired' / 'set'}"
    after = datasets.load_from_disk(found.data[3:])
    assert type(after) is type(whole)
    own = after["train"] if split else after
    assert own.features == made.features
    assert own.column_names == ["mark", "x", "note"]
    assert own["note"][:] == made["note"][:]
    assert own["x"][:] == made["x"][:]
    now = [names[k] for k in own["mark"]] if named else list(own["mark"])
    before = [names[k] for k in given]
    rows = {int(change.id.rpartition("/")[2]): change.fixed for change in found.changes}
    assert rows
    assert {k: name for k, name in enumerate(now) if name != before[k]} == rows
    if split:
        assert after["test"]["mark"][:] == made["mark"][:10]
    dropped = repair(run, "drop", tmp_path / "less")
    less = datasets.load_from_disk(str(tmp_path / "less" / "set"))
    assert len(less["train"] if split else less) == len(x) - len(dropped.changes) < len(x)
    again = train(Recipe(data=found.data, **options | {"epochs": 1}), folder=tmp_path / "next")
    assert again.records().given.tolist() != run.records().given.tolist()


def test_answers_give_the_share_and_recalibrate(table_run: RunFolder, tmp_path: Path, capsys):
    true, given = noisy()
    records = table_run.records()
    say(["audit", str(table_run.path), "--sample", "60"])
    path = table_run.path / "check.csv"
    drawn = pd.read_csv(path)
    assert len(drawn) == 60
    rows = [records.ids.index(sample) for sample in drawn["id"]]
    assert {str(name) for name in records.decision[rows]} == {"keep", "review", "fix"}
    say(["audit", str(table_run.path), "--sample", "60"], 2)
    assert "check.csv is there already" in capsys.readouterr().err
    drawn["label_is_right"] = ["yes" if given[k] == true[k] else "no" for k in rows]
    drawn.to_csv(path, index=False)
    found, (share, low, high), lines = checked(records, answers_in(path, records))
    assert low <= 0.2 <= high
    assert np.nanmean(1 - found.quality) == pytest.approx(share, abs=5e-3)
    assert lines[0].startswith("Of labels marked fix")
    others = np.setdiff1d(np.argsort(records.quality, kind="stable"), rows)
    others = others[np.argsort(records.quality[others], kind="stable")]
    assert (np.diff(found.quality[others]) >= -1e-9).all(), "the order of those that nobody looked at stays"
    say(["audit", str(table_run.path), "--checked", str(path)])
    assert "by 60 answers" in capsys.readouterr().out
    path.unlink()
    say(["audit", str(table_run.path)])


def test_draws_are_seeded_and_bounded(table_run: RunFolder):
    records = table_run.records()
    assert (draw(records, 30) == draw(records, 30)).all()
    assert (draw(records, 30) != draw(records, 30, seed=1)).any()
    assert sorted(draw(records, ROWS)) == list(range(ROWS))
    with pytest.raises(InputError, match="sample: 2, expected 3 to 240"):
        draw(records, 2)
    heads = ["id", "given_label", "suggested_label", "label_is_right", "right_label"]
    assert list(sheet(records, draw(records, 5))) == heads
    assert sheet(records, np.array([2, 0]), ["a", "b", "c"])["text"].tolist() == ["c", "a"]


def test_an_interval_from_a_book():
    """Wilson (1927), 90%: of 7 in 20."""
    low, high = wilson(7, 20)
    z, n, p = 1.645, 20, 7 / 20
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    assert (low, high) == (pytest.approx(middle - half), pytest.approx(middle + half))
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,label_is_right\nrows.csv/1,perhaps\n", "label_is_right is 'perhaps'; expected yes or no"),
        ("id,label_is_right\nrows.csv/x,yes\n", "id 'rows.csv/x' is none of the run's"),
        ("id,label_is_right\nrows.csv/1,yes\n", "has 1 answers; expected at least 3"),
        ("id,right\nrows.csv/1,yes\n", "has no column 'label_is_right'"),
        (
            "id,label_is_right,right_label\nrows.csv/1,no,antt\n",
            "right_label 'antt' is no class of the run; did you mean",
        ),
        ("id,label_is_right,right_label\nrows.csv/1,yes,OTHER\n", "label_is_right is yes, but right_label is"),
        ("id,label_is_right,right_label\nrows.csv/1,no,OWN\n", "label_is_right is no, but right_label is"),
    ],
)
def test_bad_answers_are_one_line(table_run: RunFolder, tmp_path: Path, content: str, words: str):
    path, records = tmp_path / "check.csv", table_run.records()
    own = records.given[records.ids.index("rows.csv/1")]
    content = content.replace("OWN", records.name(own)).replace("OTHER", records.name(1 - own if own < 2 else 0))
    path.write_text(content)
    with pytest.raises(InputError, match=r".") as error:
        answers_in(path, records)
    assert words in str(error.value)


# --- summaries and pages


def test_counts_by_class_and_pair_add_up(table_run: RunFolder):
    records = table_run.records()
    found = summarise(table_run, records, {"half": ["a" if k < 120 else "b" for k in range(ROWS)]})
    assert found.labels == found.classes["labels"].sum() == found.slices["half"]["labels"].sum() == ROWS
    assert found.fix == found.classes["fix"].sum() == (records.decision == "fix").sum()
    assert found.pairs["count"].sum() == records.issue.sum()
    assert (found.pairs["given"] != found.pairs["suggested"]).all()
    assert found.classes["expected_wrong"].sum() == pytest.approx((1 - records.quality).sum(), abs=0.5)
    half = found.slices["half"].set_index("value").loc["a"]
    wrong, done = 1 - records.quality[:120], table_run.done()
    chance = 1.64 * (wrong * (1 - wrong)).sum() ** 0.5
    low, high = (120 * (done[f"wrong_share_{end}"] - done["wrong_share"]) for end in ("low", "high"))
    assert half["from"] == pytest.approx(max(0, wrong.sum() - np.hypot(low, chance)), abs=0.06)
    assert half["to"] == pytest.approx(min(120, wrong.sum() + np.hypot(high, chance)), abs=0.06)
    answered = summarise(table_run, records, {"to": ["a"] * ROWS}, (0.3, 0.1, 0.4)).slices["to"].iloc[0]
    wrong = 1 - records.quality
    chance = 1.64 * (wrong * (1 - wrong)).sum() ** 0.5
    assert answered["value"] == "a", "a column may be called as one of ours"
    assert answered["to"] == pytest.approx(wrong.sum() + np.hypot(0.1 * ROWS, chance), abs=0.06), (
        "by a person's answers"
    )
    assert answered["from"] == pytest.approx(max(0, wrong.sum() - np.hypot(0.2 * ROWS, chance)), abs=0.06)


def test_how_many_to_review_by_hand():
    """Of expected 0.9 + 0.6 + 0.3 + 0.2 = 2 wrong ones, 80% is 1.6: the first three have 1.8."""
    from dataclasses import replace

    run = train(Recipe(epochs=1, batch_size=8), Task.from_arrays(np.eye(4, dtype=np.float32), [0, 1, 0, 1]))
    records = replace(run.records(), quality=np.array([0.1, 0.8, 0.4, 0.7]))
    assert to_review(records) == (3, 2)


def test_cleanlab_fits_with_our_issues(table_run: RunFolder, tmp_path: Path):
    classification = pytest.importorskip("cleanlab.classification")
    from sklearn.linear_model import LogisticRegression

    write_issues(table_run.records(), tmp_path)
    issues = pd.read_csv(tmp_path / "issues.csv")
    frame = pd.read_csv(table_run.path.parent / "rows.csv")
    labels = np.array([CLASSES.index(name) for name in frame["label"]])
    assert list(issues)[:4] == ["is_label_issue", "label_quality", "given_label", "predicted_label"]
    assert [str(issues[name].dtype) for name in list(issues)[:4]] == ["bool", "float64", "int64", "int64"]
    assert issues["given"].tolist() == frame["label"].tolist()
    fitted = classification.CleanLearning(LogisticRegression())
    fitted.fit(frame[[f"x{k}" for k in range(4)]].to_numpy(), labels, label_issues=issues)
    true, _ = noisy()
    assert (fitted.predict(frame[[f"x{k}" for k in range(4)]].to_numpy()) == true).mean() > 0.9


def test_a_change_is_told_as_it_is_written():
    change = Change(3, "a/3", "cat", None, 0.25, "review")
    assert as_table([change]).to_dict("records") == [
        {"id": "a/3", "given": "cat", "fixed": "", "probability": 0.25, "decision": "drop"}
    ]


def test_labels_and_probabilities_of_any_model_in_files(tmp_path: Path, capsys):
    true, given = noisy()
    rng = np.random.default_rng(0)
    points = np.eye(4)[true] + rng.normal(size=(ROWS, 4)) * 0.25
    probability = np.exp(4 * points) / np.exp(4 * points).sum(1, keepdims=True)
    np.save(tmp_path / "y.npy", given)
    np.save(tmp_path / "p.npy", probability)
    np.save(tmp_path / "x.npy", points.astype(np.float32))
    write_table(tmp_path / "rows.csv", given, true)
    for labels in ("y.npy", "rows.csv"):
        for option, file in (("--pred-probs", "p.npy"), ("--features", "x.npy")):
            out = tmp_path / f"{labels}{file}.csv"
            say(["find", str(tmp_path / labels), option, str(tmp_path / file), "--out", str(out)])
            found = pd.read_csv(out)
            assert found["row"].tolist() == list(range(ROWS))
            assert (given != true)[found["decision"] == "fix"].mean() > 0.9
            assert (found["decision"] == "fix")[given != true].mean() > 0.7
    capsys.readouterr()
    for arguments, words in (
        ([str(tmp_path / "no.npy"), "--features", str(tmp_path / "x.npy")], "labels: no such file"),
        ([str(tmp_path / "y.npy")], "neither pred_probs nor features"),
        ([str(tmp_path / "y.npy"), "--pred-probs", str(tmp_path / "rows.csv")], "is no NumPy file"),
        ([str(tmp_path / "y.npy"), "--pred-probs", str(tmp_path / "x.npy")], "rows are no probabilities"),
    ):
        say(["find", *arguments, "--out", str(tmp_path / "new.csv")], 2)
        error = capsys.readouterr().err
        assert words in error, error
    assert not (tmp_path / "new.csv").exists()


def test_answers_decide_what_is_changed(table_run: RunFolder, tmp_path: Path, capsys):
    """Without a word, audit and repair follow the answers in check.csv: a right label stays, a wrong one is changed
    where its suggestion is likely, and is otherwise for review."""
    run = RunFolder.open(Path(shutil.copytree(table_run.path, tmp_path / "run")))
    (run.path / "check.csv").unlink(missing_ok=True)
    (run.path / "issues.csv").unlink(missing_ok=True)
    records = run.records()
    fix, review = (np.flatnonzero(records.decision == name) for name in ("fix", "review"))
    keep = np.flatnonzero(records.decision == "keep")[:3]
    said = {int(fix[0]): "yes", int(fix[1]): "no", int(keep[0]): "no", **{int(k): "yes" for k in keep[1:]}}
    said |= {int(k): "no" for k in review[:2]}
    rows = [{"id": records.ids[k], "label_is_right": answer, "right_label": ""} for k, answer in said.items()]
    named = int(np.flatnonzero(records.decision == "keep")[3])  # the right class alone says no
    better = next(name for k, name in enumerate(records.classes) if k != records.given[named])
    rows.append({"id": records.ids[named], "label_is_right": "", "right_label": better})
    pd.DataFrame(rows).to_csv(run.path / "check.csv", index=False)
    say(["audit", str(run.path)])
    assert "by 8 answers" in " ".join(capsys.readouterr().out.split()) or len(review) < 2
    found = pd.read_csv(run.path / "issues.csv").set_index("id")
    assert found.loc[records.ids[fix[0]], ["decision", "label_quality"]].tolist() == ["keep", 1.0]
    assert found.loc[records.ids[fix[1]], ["decision", "label_quality"]].tolist() == ["fix", 0.0]
    assert found.loc[records.ids[keep[0]], "decision"] == "review"
    assert found.loc[records.ids[named], ["decision", "suggested", "suggested_probability"]].tolist() == [
        "fix",
        better,
        1,
    ]
    for row in review[:2]:
        chance = records.suggested_probability[row] / (1 - records.quality[row])
        assert found.loc[records.ids[row], "decision"] == ("fix" if chance > 0.5 else "review")
    say(["repair", str(run.path), "--to", str(tmp_path / "mine")])
    assert "Decisions follow the answers" in " ".join(capsys.readouterr().out.split())
    changed = set(pd.read_csv(tmp_path / "mine" / "changes.csv")["id"])
    assert records.ids[fix[0]] not in changed
    assert records.ids[fix[1]] in changed
    assert changed == set(found.index[found["decision"] == "fix"])


def test_a_fix_to_the_same_label_is_no_decision(table_run: RunFolder, tmp_path: Path, capsys):
    say(["audit", str(table_run.path)])
    frame = pd.read_csv(table_run.path / "issues.csv", dtype=str)
    row = int((frame["decision"] == "keep").to_numpy().nonzero()[0][0])
    frame.loc[row, "decision"] = "fix"
    frame.to_csv(tmp_path / "mine.csv", index=False)
    capsys.readouterr()
    say(["repair", str(table_run.path), "--apply", str(tmp_path / "mine.csv"), "--to", str(tmp_path / "new")], 2)
    assert "suggested is the label it has; write the right class there" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_what_goes_together_does_not_vouch_for_itself(tmp_path: Path, capsys):
    """Every sample is there five times with the same label: without groups the copies agree with each other."""
    true, given = noisy()
    points = np.repeat(np.eye(4)[true] + np.random.default_rng(0).normal(size=(ROWS, 4)) * 0.2, 5, axis=0)
    np.save(tmp_path / "x.npy", points.astype(np.float32))
    pair = np.repeat(np.arange(ROWS), 5)
    np.save(tmp_path / "g.npy", pair)
    labels = np.repeat(np.array(CLASSES)[given], 5)
    pd.DataFrame({"label": labels, "pair": [f"p{k}" for k in pair]}).to_csv(tmp_path / "y.csv", index=False)
    wrong, found = np.repeat(given != true, 5), {}
    for name, more in (("none", []), ("table", ["--group", "pair"]), ("file", ["--group", str(tmp_path / "g.npy")])):
        out = tmp_path / f"{name}.csv"
        say(["find", str(tmp_path / "y.csv"), "--features", str(tmp_path / "x.npy"), *more, "--out", str(out)])
        found[name] = pd.read_csv(out)["label_quality"].to_numpy()
    for name in ("table", "file"):
        assert found[name][wrong].mean() < 0.4 < 0.9 < found["none"][wrong].mean()
    np.save(tmp_path / "short.npy", pair[:7])
    capsys.readouterr()
    for group, option, words in (
        ("short.npy", "--features", "groups: 7 values for 1,200 labels"),
        ("g.npy", "--pred-probs", "group: without features"),
        ("no.npy", "--features", "group: no such file"),
    ):  # fmt: skip
        given_group = ["--group", str(tmp_path / group), "--out", str(tmp_path / "new.csv")]
        say(["find", str(tmp_path / "y.csv"), option, str(tmp_path / "x.npy"), *given_group], 2)
        assert words in capsys.readouterr().err
    assert not (tmp_path / "new.csv").exists()


def test_edited_decisions_stay(table_run: RunFolder, tmp_path: Path, capsys):
    path = table_run.path / "issues.csv"
    say(["audit", str(table_run.path)])
    before = path.read_bytes()
    path.write_bytes(before.replace(b",fix,", b",drop,", 1))
    edited = path.read_bytes()
    say(["audit", str(table_run.path), "--by", "vendor"])
    assert "was edited, and stays as it is" in capsys.readouterr().out.replace("\n  ", " ")
    assert path.read_bytes() == edited != before
    path.unlink()
    say(["audit", str(table_run.path)])
    assert path.read_bytes() == before


def test_a_text_beside_a_category_is_what_is_read(tmp_path: Path, capsys):
    true, given = noisy()
    frame = pd.read_csv(write_texts(tmp_path / "t.csv", given, true)).rename(
        columns={"text": "review", "label": "mood"}
    )
    frame["annotator"] = np.where(np.arange(ROWS) % 3 == 0, "kim", "lee")
    frame.to_csv(tmp_path / "t.csv", index=False)
    say(["clean", str(tmp_path / "t.csv"), "--label", "mood", "--epochs", "12", "--out", str(tmp_path / "run")])
    said = capsys.readouterr().out.replace("\n         ", " ")
    assert "text in review; not read: annotator (tells of the labelling)" in said
    say(["repair", str(tmp_path / "run"), "--to", str(tmp_path / "mine")])
    assert "--label mood" in capsys.readouterr().out.replace("\n  ", " ")


def test_labels_that_nothing_tells(tmp_path: Path, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(150, 3)).round(3), columns=list("abc"))
    frame["label"] = rng.choice(["x", "y"], 150)
    frame.to_csv(tmp_path / "t.csv", index=False)
    say(["clean", str(tmp_path / "t.csv"), "--epochs", "6", "--out", str(tmp_path / "run")])
    said = capsys.readouterr().out
    assert "Nothing can be said of these labels" in said
    assert "are wrong" not in said
    say(["clean", str(tmp_path / "none" / "photos")], 2)
    assert "no such file or folder" in capsys.readouterr().err


def test_labels_that_a_person_mended_since_stay(tmp_path: Path):
    true, given = noisy()
    frame = pd.read_csv(write_table(tmp_path / "t.csv", given, true))
    frame["id"] = [f"s{k}" for k in range(ROWS)]
    frame.to_csv(tmp_path / "t.csv", index=False)
    run = train(Recipe(data=f"table:{tmp_path / 't.csv'}", epochs=6, val_fraction=0.0), folder=tmp_path / "run")
    first = decided(run.records(), "fix")[0].id
    frame.loc[frame["id"] == first, "label"] = "zebra"
    frame.iloc[::-1].to_csv(tmp_path / "t.csv", index=False)  # with ids, rows may change places
    wanted = [change.id for change in decided(run.records(), "fix")]
    found = repair(run)
    after = pd.read_csv(tmp_path / "run" / "repaired" / "t.csv").set_index("id")["label"]
    assert after[first] == "zebra"
    assert [change.id for change in found.changes] == [sample for sample in wanted if sample != first]
    assert "1 labels are not those that the run read any more" in found.notes[-1]
    assert all(after[change.id] == change.fixed for change in found.changes)
    repair(run, to=tmp_path / "one", in_place=True)
    assert repair(run, to=tmp_path / "two", in_place=True).changes == []


def test_an_undo_that_is_blocked_moves_nothing_and_goes_on(folder_run: RunFolder, tmp_path: Path, monkeypatch):
    root = folder_run.path.parent / "photos"
    before = listing(root)
    repair(folder_run, "all", tmp_path / "log", in_place=True)
    moved = listing(root)
    first = json.loads((tmp_path / "log" / "undo.jsonl").read_text().splitlines()[0])["moved"]
    Path(first).write_text("new")
    with pytest.raises(InputError, match=r"is there again; move it away first \(nothing was moved\)"):
        undo(tmp_path / "log")
    Path(first).unlink()
    assert listing(root) == moved
    done, move = [], __import__("shutil").move

    def dies(path, to):
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(move(path, to))

    monkeypatch.setattr("alasca.repair.moves.shutil.move", dies)
    with pytest.raises(KeyboardInterrupt):
        undo(tmp_path / "log")
    monkeypatch.undo()
    undo(tmp_path / "log")
    assert listing(root) == before


def test_names_that_change_places_come_back(tmp_path: Path, monkeypatch):
    """Two pictures of one name that take each other's place, and one that takes a place that was left."""
    from alasca.repair.folders import Move
    from alasca.repair.moves import Log

    root = tmp_path / "photos"
    for name in ("a/1", "b/1", "c/1"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(name)
    before = listing(root)
    (tmp_path / "log").mkdir()
    moves = [Move(root / "a/1", root / "b/1"), Move(root / "b/1", root / "a/1"), Move(root / "c/1", None)]
    Log(tmp_path / "log").move(moves)
    assert (root / "a/1").read_text() == "b/1"
    assert (root / "b/1").read_text() == "a/1"
    for stop in range(5):
        with monkeypatch.context() as patch:
            done, move = [], __import__("shutil").move

            def dies(path, to, done=done, stop=stop, move=move):
                if len(done) == stop:
                    raise KeyboardInterrupt
                done.append(move(path, to))

            patch.setattr("alasca.repair.moves.shutil.move", dies)
            with pytest.raises(KeyboardInterrupt):
                undo(tmp_path / "log")
        undo(tmp_path / "log")
        assert listing(root) == before, stop
        (tmp_path / "log" / "undone.jsonl").unlink()
        Log(tmp_path / "log").move(moves)
        (tmp_path / "log" / "undo.progress").unlink(missing_ok=True)
    undo(tmp_path / "log")
    assert listing(root) == before
    with pytest.raises(InputError, match=r"is there already; .* stays where it is"):
        Log(tmp_path / "log").one(root / "a/1", root / "b/1")
    assert listing(root) == before


def test_its_own_labels_leave_nothing_out(tmp_path: Path):
    true, given = noisy()
    frame = pd.read_csv(write_table(tmp_path / "t.csv", given, true))
    frame.loc[::20, "label"] = ""
    frame.to_csv(tmp_path / "t.csv", index=False)
    run = train(Recipe(data=f"table:{tmp_path / 't.csv'}", epochs=6, val_fraction=0.0), folder=tmp_path / "run")
    found = repair(run)
    again = decided(run.records(), str(tmp_path / "run" / "repaired" / "labels.csv"))
    assert [(change.id, change.fixed) for change in again] == [(change.id, change.fixed) for change in found.changes]


def test_answers_that_all_labels_are_right_leave_nothing_to_fix(table_run: RunFolder):
    records = table_run.records()
    found, (share, _, _), _ = checked(records, dict.fromkeys(draw(records, 60).tolist(), Answer(True)))
    assert share == 0
    assert not found.issue.any()
    assert (found.decision == "keep").all()
    assert (found.suggested == found.given).all()
    assert found.suggested_probability == pytest.approx(found.quality)


def test_what_is_no_text_and_what_has_not_ended(tmp_path: Path, capsys):
    true, given = noisy()
    write_texts(tmp_path / "t.csv", given, true)
    run = train(Recipe(data=f"table:{tmp_path / 't.csv'}", epochs=1), folder=tmp_path / "run")
    for text, words in (("nope.csv", "no such file: nope.csv"), ("a/b.png", "no such file"), ("", "an empty text")):
        say(["predict", str(run.path), text], 2)
        assert words in capsys.readouterr().err
    (run.path / "done.json").unlink()
    for command in (["audit"], ["repair"], ["predict"]):
        say([*command, str(run.path), *(["x y"] if command == ["predict"] else [])], 2)
        assert "alasca resume" in capsys.readouterr().err


@pytest.mark.long
def test_clean_renames_in_its_copy_and_leaves_spellings_to_a_person(tmp_path: Path, capsys):
    true, given = noisy()
    root = write_folder(tmp_path / "photos", given, true)
    for folder in root.iterdir():
        for k, path in enumerate(sorted(folder.iterdir())):
            path.rename(folder / f"{k:03d}.png")
    say(["clean", str(root), "--epochs", "8", "--image-size", "12", "--out", str(tmp_path / "run")])
    told = " ".join(capsys.readouterr().out.split())
    assert f"hint {ROWS / 4:.0f} pictures a class are few" in told
    assert len(listing(tmp_path / "run" / "repaired" / "photos")) == ROWS
    frame = pd.read_csv(write_table(tmp_path / "t.csv", given, true))
    frame["label"] = [name.upper() if k % 2 else name for k, name in enumerate(frame["label"])]
    frame.to_csv(tmp_path / "t.csv", index=False)
    capsys.readouterr()
    say(["clean", str(tmp_path / "t.csv"), "--epochs", "6", "--out", str(tmp_path / "spelt")])
    assert "Not repaired: classes that differ in spelling" in capsys.readouterr().out
    assert not (tmp_path / "spelt" / "repaired").exists()


def test_classes_of_probabilities_by_name(tmp_path: Path):
    true, given = noisy()
    probability = np.full((ROWS, 4), 0.04)
    probability[np.arange(ROWS), true] = 0.88
    order = ["dog", "ant", "cat", "bee"]
    np.save(tmp_path / "p.npy", probability[:, [CLASSES.index(name) for name in order]])
    np.save(tmp_path / "y.npy", np.array(CLASSES)[given])
    out = str(tmp_path / "o.csv")
    arguments = ["find", str(tmp_path / "y.npy"), "--pred-probs", str(tmp_path / "p.npy"), "--out", out]
    say([*arguments, "--classes", ",".join(order)])
    found = pd.read_csv(out)
    assert (found["suggested_label"] == np.array(CLASSES)[true]).mean() > 0.95


@pytest.mark.parametrize("pattern", ["", "*/*.csv"])
def test_tables_of_several_files(tmp_path: Path, pattern: str, capsys):
    true, given = noisy()
    write_table(tmp_path / "all.csv", given, true)
    lines = (tmp_path / "all.csv").read_text().splitlines(keepends=True)
    home = tmp_path / "parts"
    parts = ("east/a.csv", 0, 90), ("west/a.csv", 90, 150), ("west/b.csv", 150, ROWS)
    for number, (name, start, end) in enumerate(parts):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ending = "\r\n" if number == 1 else "\n"
        path.write_bytes("".join([lines[0], *lines[1 + start : 1 + end]]).replace("\n", ending).encode())
    before = {path.relative_to(home): path.read_bytes() for path in home.rglob("*.csv")}
    data = f"table:{home}/{pattern}" if pattern else f"table:{home}"
    recipe = Recipe(data=data, epochs=12, method="elr", val_fraction=0.0, batch_size=32, lr=0.02)
    run = train(recipe, None, Place(), tmp_path / "run")
    say(["repair", str(run.path), "--dry-run"])
    count = int((run.records().decision == "fix").sum())
    assert f"{count:,} labels would be changed" in capsys.readouterr().out
    repaired = repair(run)
    tree = run.path / "repaired" / "parts"
    assert {path.relative_to(tree) for path in tree.rglob("*.csv")} == set(before)
    assert len(repaired.changes) == count > 20
    changed = sum(
        old != new
        for name, content in before.items()
        for old, new in zip(content.split(b"\n"), (tree / name).read_bytes().split(b"\n"), strict=True)
    )
    assert changed == count
    again = train(Recipe(data=repaired.data, epochs=1), None, Place(), tmp_path / "again").records()
    assert (again.given != run.records().given).sum() == count
    say(["repair", str(run.path), "--in-place", "--to", str(tmp_path / "log")])
    assert {path.relative_to(home): path.read_bytes() for path in home.rglob("*.csv")} == {
        path.relative_to(tree): path.read_bytes() for path in tree.rglob("*.csv")
    }
    say(["repair", str(run.path), "--dry-run"])
    said = capsys.readouterr().out.replace("\n  ", " ")
    assert f"{count:,} labels are not those that the run read any more, and stay" in said
    say(["repair", str(run.path), "--undo", "--to", str(tmp_path / "log")])
    assert {path.relative_to(home): path.read_bytes() for path in home.rglob("*.csv")} == before


@pytest.mark.parametrize("name", ["labels.csv", "changes.csv"])
def test_a_table_called_as_one_of_ours(tmp_path: Path, name: str):
    true, given = noisy()
    path = write_table(tmp_path / name, given, true)
    before = path.read_bytes()
    recipe = Recipe(data=f"table:{path}", epochs=12, method="elr", val_fraction=0.0, batch_size=32, lr=0.02)
    run = train(recipe, None, Place(), tmp_path / "run")
    repaired = repair(run)
    assert repaired.data == f"table:{run.path / 'repaired' / 'data' / name}"
    assert list(pd.read_csv(repaired.data[6:])) == list(pd.read_csv(path))
    repair(run, to=tmp_path / "log", in_place=True)
    after = pd.read_csv(path)
    pd.testing.assert_frame_equal(after, pd.read_csv(repaired.data[6:]))
    assert undo(tmp_path / "log") == 1
    assert path.read_bytes() == before


def test_parquet_files_that_lack_the_new_class(tmp_path: Path):
    true, given = noisy()
    frame = pd.read_csv(write_table(tmp_path / "all.csv", given, true)).assign(label=given)
    (tmp_path / "parts").mkdir()
    for k in range(len(CLASSES)):
        frame[frame["label"] == k].to_parquet(tmp_path / "parts" / f"p{k}.parquet", index=False)
    data = f"table:{tmp_path / 'parts'}"
    recipe = Recipe(data=data, epochs=12, method="elr", val_fraction=0.0, batch_size=32, lr=0.02)
    run = train(recipe, None, Place(), tmp_path / "run")
    repaired = repair(run)
    found = pd.concat([pd.read_parquet(path) for path in sorted(Path(repaired.data[6:]).glob("*.parquet"))])
    assert found["label"].dtype == frame["label"].dtype
    assert (found["label"].to_numpy() != frame.sort_values("label", kind="stable")["label"].to_numpy()).sum() > 20


def test_texts_to_check_are_shown_whole(tmp_path: Path, capsys):
    """Long ones, with carriage returns and what a spreadsheet would compute; answers are read back from beside them."""
    true, given = noisy()
    texts = [f"{'=' if k % 5 == 0 else ''}{'long ' * 80}{CLASSES[label]}\r{k}" for k, label in enumerate(true)]
    rows = [{"text": text, "label": CLASSES[label]} for text, label in zip(texts, given, strict=True)]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    run = train(Recipe(data=f"table:{tmp_path / 't.json'}", epochs=1, val_fraction=0.0), folder=tmp_path / "run")
    assert texts_of(run, run.records()) == texts
    say(["audit", str(run.path), "--sample", "9"])
    say(["audit", str(run.path)])  # the sheet without answers stops nobody
    sheet_path = run.path / "check.csv"
    drawn = pd.read_csv(sheet_path, dtype=str, keep_default_na=False)
    assert sorted(drawn["text"].str.replace("\r\n", "\n").str.len()) != [0] * 9
    drawn["label_is_right"] = "yes"
    drawn.drop(columns="right_label").to_csv(sheet_path, index=False, quoting=1)
    say(["audit", str(run.path)])
    assert "by 9 answers" in " ".join(capsys.readouterr().out.split())
    drawn.assign(right_label=drawn["given_label"]).drop(columns="label_is_right").to_csv(
        sheet_path, index=False, quoting=1
    )
    say(["audit", str(run.path)])
    assert "by 9 answers" in " ".join(capsys.readouterr().out.split()), "a right label alone is an answer"
    rows[0]["text"] = "another"
    (tmp_path / "t.json").write_text(json.dumps(rows))
    with pytest.raises(InputError, match=r"t.json/0 .*is not what it was; put the run's data back"):
        texts_of(run, run.records())
