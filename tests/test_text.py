"""Texts and tables, worked through: weakly labelled comments with a small transformer, a numeric table with an MLP."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_breast_cancer

import alasca.functional as AF
from alasca import InputError
from alasca.data import Texts
from alasca.data.text import Vocabulary, encoded
from alasca.runs import RunFolder
from doors import ran, read, ready
from test_networks import bert

WEAK = os.environ.get("ALASCA_WEAK_TEXT")
"""A folder or zip of WRENCH data sets (``youtube/train.json``, ...), if anywhere: the same checks then run on them."""
SPAM = ("free money now", "check out my channel", "win a prize", "click here and subscribe", "visit my page please")
HAM = (
    "I love this song",
    "her voice is so good",
    "this video made my day",
    "the best beat ever",
    "brings back memories",
)
ENDS = ("", "!!", " friends", " today", " haha", " everyone", " <3", " wow", " right", " ok")


def comments(count: int, seed: int) -> pd.DataFrame:
    """Comments with their true label, and what five labelling functions say of them (-1: nothing)."""
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        spam = int(draw.random() < 0.5)
        text = " ".join(draw.choice(SPAM if spam else HAM, 2, replace=False)) + str(draw.choice(ENDS))
        votes = [
            1 if "my" in text else -1,  # some songs are "my day" too: it errs
            1 if "check" in text or "free" in text else -1,
            0 if "song" in text or "voice" in text else -1,
            0 if len(text) > 44 else -1,  # errs on long advertisements
            int(draw.random() < 0.5) if draw.random() < 0.4 else -1,  # knows nothing
        ]
        rows.append({"text": text, "gold": spam, "votes": votes})
    return pd.DataFrame(rows)


def with_majority(frame: pd.DataFrame, split: str, classes: int = 2) -> pd.DataFrame:
    """The table that training takes: majority votes as labels, comments without a vote left out."""
    votes = torch.tensor(frame["votes"].tolist())
    labels = AF.majority_vote(votes, classes, torch.Generator().manual_seed(0))
    table = frame.assign(label=labels.numpy() if split == "train" else frame["gold"], split=split)
    return table[table["label"] >= 0].rename(columns={"gold": "true_label"}).drop(columns="votes")


def settings_for(path: Path, **changes: object) -> dict[str, object]:
    return {
        "data": f"table:{path}", "epochs": 12, "batch_size": 32, "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.01,
        "clip": 5.0, "threads": 1, **changes,
    }  # fmt: skip


def test_weakly_labelled_comments(tmp_path: Path):
    """Labels that functions vote for, a transformer from scratch: better than the votes; wrong ones are found."""
    table = pd.concat([with_majority(comments(700, 0), "train"), with_majority(comments(300, 1), "test")])
    table.to_json(tmp_path / "comments.jsonl", orient="records", lines=True)
    run = ran(tmp_path / "run", **settings_for(tmp_path / "comments.jsonl"))
    done = run.done()
    assert 5 < 100 * done["noise_rate"] < 45, "the votes err"
    assert done["test_accuracy_last"] > 100 * (1 - done["noise_rate"]) + 3
    assert done["issue_auroc"] > 0.8
    assert len(run.excerpts()) == len(run.records().ids) < 1000
    words = json.loads((run.path / "model.json").read_text())["transform"]["words"]
    assert "channel" in words
    assert "channel" in next(text for text in run.excerpts().values() if "channel" in text)
    from alasca.audit.report import write_report

    page = write_report([run], tmp_path / "report.html").read_text()
    assert next(iter(run.excerpts().values()))[:20] in page


def test_the_same_table_with_a_network_of_transformers(tmp_path: Path):
    with_majority(comments(60, 0), "train").to_csv(tmp_path / "c.csv", index=False)
    (tmp_path / "bert").mkdir()
    name = bert(tmp_path / "bert")
    given = settings_for(tmp_path / "c.csv", network=name, epochs=1)
    prepared = ready(**given)
    assert isinstance(prepared.split.samples.inputs, torch.Tensor)
    assert (prepared.split.samples.inputs[:, 0] == 2).all(), "its own tokenizer begins with [CLS]"
    assert prepared.split.samples.transform.words is None
    run = ran(tmp_path / "run", **given)
    assert run.finished
    pretrained = ran(tmp_path / "pretrained", pretrained=True, **given)
    assert pretrained.finished


def read_weak(name: str, split: str) -> pd.DataFrame:
    """One split of a WRENCH data set."""
    assert WEAK is not None
    file = f"{name}/{split}.json"
    if Path(WEAK).is_dir():
        content = (Path(WEAK) / file).read_bytes()
    else:
        with zipfile.ZipFile(WEAK) as archive:
            content = archive.read(file)
    rows = json.loads(content).values()
    return pd.DataFrame(
        {"text": row["data"]["text"], "gold": row["label"], "votes": row["weak_labels"]} for row in rows
    )


@pytest.mark.skipif(WEAK is None, reason="WRENCH data sets are where ALASCA_WEAK_TEXT says")
@pytest.mark.parametrize(
    ("name", "share", "right"), [("youtube", 0.89, 0.853), ("sms", 0.41, 0.971), ("trec", 0.95, 0.537)]
)
def test_majority_votes_of_real_weak_labels(name: str, share: float, right: float, tmp_path: Path):
    frame = read_weak(name, "train")
    classes = int(frame["gold"].max()) + 1
    table = with_majority(frame, "train", classes)
    assert len(table) / len(frame) == pytest.approx(share, abs=0.01)
    assert (table["label"] == table["true_label"]).mean() == pytest.approx(right, abs=0.01)
    if name == "youtube":
        both = pd.concat([table, with_majority(read_weak(name, "test"), "test")])
        both.to_json(tmp_path / "comments.jsonl", orient="records", lines=True)
        done = ran(tmp_path / "run", **settings_for(tmp_path / "comments.jsonl")).done()
        assert done["test_accuracy_last"] > 80


def test_a_numeric_table(tmp_path: Path):
    """569 rows of 30 measurements, 40% of the labels drawn anew: an MLP with ELR inside ALASCA."""
    measured = load_breast_cancer(as_frame=True)
    frame = measured.frame.rename(columns={"target": "label"})
    frame["split"] = np.where(np.arange(len(frame)) % 3 == 0, "test", "train")
    frame.to_csv(tmp_path / "t.csv", index=False)
    settings = {"noise": "symmetric:0.4", "method": "elr", "epochs": 30, "batch_size": 32, "lr": 0.02, "threads": 1}
    run = ran(tmp_path / "run", data=f"table:{tmp_path / 't.csv'}", **settings)
    assert ready(data=f"table:{tmp_path / 't.csv'}", **settings).split.samples.inputs.shape == (379, 30)
    done = run.done()
    assert done["test_accuracy_last"] > 90
    assert done["issue_auroc"] > 0.95
    assert isinstance(RunFolder.open(run.path).records().ids[0], str)


def test_vocabulary_and_tokens():
    vocabulary = Vocabulary.of(["the cat sat", "the cat, the dog", "a dog sat"])
    assert vocabulary.known == ("the", "cat", "dog", "sat"), "by count, then by name; once is too rarely"
    found = encoded(Texts(("the zebra sat", "", "cat " * 9)), vocabulary.tokens, 5)
    assert found.tolist() == [[2, 1, 5, 0, 0], [1, 0, 0, 0, 0], [3, 3, 3, 3, 3]]
    assert Vocabulary.of(["b b a a c c"], most=2).known == ("a", "b")


def test_words_come_from_the_training_texts_alone(tmp_path: Path):
    rows = [("good good", 1, "train"), ("bad bad", 0, "train"), ("secret secret", 1, "test")] * 3
    pd.DataFrame(rows, columns=["text", "label", "split"]).to_csv(tmp_path / "t.csv", index=False)
    prepared = ready(**settings_for(tmp_path / "t.csv", alasca=False))
    assert prepared.split.samples.transform.words == ("bad", "good")


def test_methods_that_blend_inputs_are_refused_for_texts(tmp_path: Path):
    pd.DataFrame({"text": ["a b", "c d", "e f", "g h"], "label": [0, 1, 0, 1]}).to_csv(tmp_path / "t.csv", index=False)
    for method in ("mixup", "dividemix"):
        with pytest.raises(InputError, match="blends inputs"):
            ready(**settings_for(tmp_path / "t.csv", method=method))
    with pytest.raises(InputError, match=r"mlp reads rows of numbers, the data are texts \[2\]; try text-bag"):
        ready(**settings_for(tmp_path / "t.csv", network="mlp"))
    assert isinstance(read(f"table:{tmp_path / 't.csv'}").inputs, Texts)
