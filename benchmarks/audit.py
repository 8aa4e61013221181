"""How well wrong labels are found, judged and mended, beside cleanlab on the same labels.

    python benchmarks/audit.py runs/audit --seeds 3 4 5                       # digits, wine, breast cancer
    python benchmarks/audit.py runs/audit --wrench DIR --cifar DIR            # texts of WRENCH, CIFAR-10 too
    python benchmarks/audit.py runs/audit --cifar DIR --instance FILE         # and published instance noise
    python benchmarks/audit.py runs/audit --jobs 0                            # the tables only

Every run is what ``alasca clean`` does: its settings are those of `alasca.training.suited`, nothing is held out, and
true labels are read by this file alone. cleanlab gets five folds of the cheap classifier that agrees best with the
given labels (nearest neighbours, logistic regression, extremely randomised trees, histogram gradient boosting; TF-IDF
and logistic regression for texts), and with ``--network`` five folds of the same network, trained with cross-entropy as
long as ours. The numbers in `alasca.audit.evidence` and `alasca.audit.verdict` were chosen on
seeds 0 to 2; what is reported is other seeds. Writes ``results/audit.csv`` and the table of ``docs/audit.md``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pages import ROOT, put, table
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from alasca import InputError, Place, Recipe, Task, load, train
from alasca.data import Texts, load_task, make_split
from alasca.runs import Records, RunFolder
from alasca.training import resolve, resume, suited

MADE = ("none", "symmetric:0.2", "symmetric:0.4", "symmetric:0.6", "pair:0.4")
TABLES = {"wine": load_wine, "breast cancer": load_breast_cancer}
TEXTS = ("youtube", "sms", "trec")
CIFAR = 5_000
"""Pictures of CIFAR-10 of a run, others for each seed."""
FIVE, OF_EACH = "five of cifar10", 300
"""A small hard set: so many pictures of each of the first five classes of CIFAR-10, others for each seed. A quarter of
the labels drawn anew leave a fifth wrong."""
INSTANCE = "idn_cifar10_0.3"
"""Labels of the 50,000 pictures with instance-dependent noise (Chen et al., 2021), in an npz file."""


def cases(given: argparse.Namespace) -> list[tuple[str, str]]:
    """Data sets and the noise of their labels."""
    found = [(name, noise) for name in ("digits", *TABLES) for noise in MADE]
    if given.wrench:
        found += [(name, noise) for name in TEXTS for noise in ("weak", *MADE)]
    if given.cifar:
        found += [("cifar10", noise) for noise in (*MADE, "worse", "aggre")] + [(FIVE, "symmetric:0.25")]
        found += [("cifar10", "instance")] if given.instance else []
    return found


def task_of(name: str, noise: str, seed: int, given: argparse.Namespace) -> tuple[Task, str]:
    """Samples whose true labels are known, and the noise that is to be made."""
    if name in TABLES:
        x, y = TABLES[name](return_X_y=True)
        return Task.from_arrays(x.astype(np.float32), y, truth=y), noise
    if name == "digits":
        task = load_task(Recipe())
        return replace(task, truth=task.labels), noise
    if name in TEXTS:
        return texts(Path(given.wrench) / name / "train.json", seed, noise)
    source = f"cifar10n:{noise}" if noise in ("worse", "aggre") else "cifar10"
    task = load_task(Recipe(data=source), Place(data_dir=given.cifar))
    rows = np.arange(seed * CIFAR, (seed + 1) * CIFAR)
    labels, truth = task.labels, task.labels if task.truth is None else task.truth
    if name == FIVE:
        rows = np.sort(np.concatenate([rows[truth[rows] == k][:OF_EACH] for k in range(5)]))
        task = replace(task, classes=task.classes[:5])
    if noise == "instance":
        labels = torch.from_numpy(np.load(given.instance)[INSTANCE].astype(np.int64))
    part = replace(
        task, inputs=task.inputs[rows], labels=labels[rows], ids=tuple(task.ids[k] for k in rows), truth=truth[rows],
        kept=None, test_inputs=None, test_labels=None,
    )  # fmt: skip
    return part, "none" if noise in ("worse", "aggre", "instance") else noise


def texts(path: Path, seed: int, noise: str) -> tuple[Task, str]:
    """Texts of WRENCH; the majority of their weak labels, ties drawn, or their true ones under made noise."""
    rng, found = np.random.default_rng(seed), json.loads(path.read_text())
    rows = [row for row in found.values() if any(vote >= 0 for vote in row["weak_labels"])]
    true = [int(row["label"]) for row in rows]
    weak = []
    for row in rows:
        counts = np.bincount([vote for vote in row["weak_labels"] if vote >= 0])
        weak.append(int(rng.choice(np.flatnonzero(counts == counts.max()))))
    values = [row["data"]["text"] for row in rows]
    labels = weak if noise == "weak" else true
    classes = [str(k) for k in range(max(true + weak) + 1)]
    return Task.from_arrays(values, labels, truth=true, classes=classes), "none" if noise == "weak" else noise


def one(name: str, noise: str, seed: int, folder: Path, given: argparse.Namespace) -> None:
    """One run, and cleanlab on its labels: a line of figures beside it."""
    task, made = task_of(name, noise, seed, given)
    settings = suited(task, {}, given.device) | {"noise": made, "seed": seed}
    if given.method:
        settings["method"] = given.method
    recipe = Recipe(**settings)
    place = Place(device=given.device, threads=1)
    kept, before = folder / "figures.json", {}
    if given.again and kept.is_file():
        before = json.loads(kept.read_text())
        done, aside = folder / "done.json", folder.with_name(f"{folder.name}-done.json")
        done.rename(aside)  # what is done again is all that follows training
        try:
            run = resume(folder, task)
        except InputError:
            aside.rename(done)
            raise
        aside.unlink()
    else:
        run = RunFolder.open(folder) if (folder / "done.json").is_file() else train(recipe, task, place, folder)
    recipe = run.recipe()
    ours = figures(run.records()) | {
        name: run.done()[name] for name in ("wrong_share", "wrong_share_low", "wrong_share_high")
    }
    theirs = {name: value for name, value in before.items() if name.startswith(("cleanlab", "network"))}
    if not before:
        theirs = cleanlab_figures(task, recipe, run.records())
    if given.network:
        theirs |= beside(run.records(), network_folds(task, recipe, run.records().given, place, folder), "network")
    kept.write_text(json.dumps(ours | theirs | {"method": recipe.title, "epochs": recipe.epochs}))


def network_folds(task: Task, recipe: Recipe, labels: np.ndarray, place: Place, folder: Path) -> np.ndarray:
    """Out-of-sample probabilities ``[N, K]`` by the same network and cross-entropy, trained on each four of five folds.

    They are kept beside the run's folder.
    """
    kept = folder.with_name(f"{folder.name}-folds.npy")
    if kept.is_file():
        return np.load(kept)
    own = replace(recipe, method="ce", alasca=False, noise="none")
    found = np.zeros((len(labels), len(task.classes)), dtype=np.float32)
    texts = isinstance(task.inputs, Texts)
    for inside, outside in StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels):
        part = replace(
            task, inputs=Texts(tuple(task.inputs.values[k] for k in inside)) if texts else task.inputs[inside],
            labels=torch.from_numpy(labels[inside]), ids=tuple(task.ids[k] for k in inside), truth=None, kept=None,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as made:
            train(own, part, place, Path(made) / "run")
            rows = [task.inputs.values[k] for k in outside] if texts else task.inputs[outside]
            found[outside] = load(Path(made) / "run").predict(rows)
    np.save(kept, found)
    return found


def figures(records: Records) -> dict[str, float]:
    """What of a run's decisions is right."""
    assert records.true is not None
    wrong, quality = records.given != records.true, records.quality
    fix = records.decision == "fix"
    mended = np.where(fix, records.suggested, records.given)
    bins = np.clip((quality * 10).astype(int), 0, 9)
    gaps = [
        np.mean(bins == k) * abs(quality[bins == k].mean() - (~wrong)[bins == k].mean()) for k in set(bins.tolist())
    ]
    found = {
        "wrong": wrong.mean(), "flagged": records.issue.mean(), "fix": fix.mean(), "calibration_error": sum(gaps),
        "wrong_after_fix": (mended != records.true).mean(),
    }  # fmt: skip
    if wrong.any():
        found |= {"auroc": roc_auc_score(wrong, -quality), "ap": average_precision_score(wrong, -quality)}
        found |= {"f1": f1_score(wrong, records.issue), "fix_recall": fix[wrong].mean()}
    if fix.any():
        found["fix_precision"] = wrong[fix].mean()
    return {key: float(value) for key, value in found.items()}


def cleanlab_figures(task: Task, recipe: Recipe, records: Records) -> dict[str, float | str]:
    """cleanlab's default on out-of-sample probabilities of the cheap classifier that agrees best with the labels."""
    labels = records.given
    if isinstance(task.inputs, Texts):
        rows: Any = list(task.inputs.values)
        models = {"TF-IDF + logistic regression": make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2), LogisticRegression(C=10, max_iter=300)
        )}  # fmt: skip
    else:
        split, _ = make_split(task, replace(resolve(recipe, task), noise="none"))
        rows = split.samples.view("plain", split.train).flatten(1).numpy()
        models = {
            "nearest neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier(10)),
            "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
            "trees": ExtraTreesClassifier(200, random_state=0),
        }
        if len(rows) * len(task.classes) < 20_000 and rows.shape[1] < 100:
            models["gradient boosting"] = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    folds, best = StratifiedKFold(5, shuffle=True, random_state=0), ("", -1.0, np.zeros(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for title, model in models.items():
            probability = cross_val_predict(model, rows, labels, cv=folds, method="predict_proba")
            agreement = float((probability.argmax(1) == labels).mean())
            best = max(best, (title, agreement, probability), key=lambda each: each[1])
        if len(np.unique(labels)) < len(task.classes) or best[2].shape[1] < len(task.classes):
            return {}
    return {"cleanlab_on": best[0], **beside(records, best[2], "cleanlab")}


def beside(records: Records, probability: np.ndarray, name: str) -> dict[str, float | str]:
    """What cleanlab makes of out-of-sample probabilities."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    assert records.true is not None
    issue = find_label_issues(records.given, probability)
    quality = get_label_quality_scores(records.given, probability)
    wrong = records.given != records.true
    found: dict[str, float | str] = {f"{name}_flagged": float(issue.mean())}
    if wrong.any():
        found[f"{name}_auroc"] = float(roc_auc_score(wrong, -quality))
        found[f"{name}_ap"] = float(average_precision_score(wrong, -quality))
        found[f"{name}_f1"] = float(f1_score(wrong, issue))
    return found


def main() -> None:
    """Train what is missing, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5])
    parser.add_argument("--wrench", help="folder with youtube/train.json, sms/train.json, trec/train.json")
    parser.add_argument("--cifar", help="folder with CIFAR-10 and CIFAR-10N")
    parser.add_argument("--instance", help=f"npz file with {INSTANCE}")
    parser.add_argument("--network", action="store_true", help="cleanlab on five folds of the same network, too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--method", default="", help="instead of the one that suits the data")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="judge anew what was trained: after a change of the audit")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        name, noise, seed = given.one
        one(name, noise, int(seed), place_of(given.folder, name, noise, int(seed), given.method), given)
        return
    todo = [(name, noise, seed) for seed in given.seeds for name, noise in cases(given)]
    there = [case for case in todo if (place_of(given.folder, *case, given.method) / "figures.json").is_file()]
    missing = there if given.again else [case for case in todo if case not in there]

    def start(case: tuple[str, str, int]) -> None:
        own = [sys.executable, __file__, *sys.argv[1:], "--one", *map(str, case)]
        subprocess.run(own, check=True)
        print(*case, flush=True)

    if given.jobs:
        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(start, missing))
    rows = []
    for name, noise, seed in todo:
        path = place_of(given.folder, name, noise, seed, given.method) / "figures.json"
        if path.is_file():
            rows.append({"data": name, "noise": noise, "seed": seed, **json.loads(path.read_text())})
    found = pd.DataFrame(rows)
    found.round(4).to_csv(ROOT / "results" / "audit.csv", index=False)
    text = everything(found)
    put("audit", text, "audit.md")
    print(text)


def place_of(folder: Path, name: str, noise: str, seed: int, method: str) -> Path:
    """Where a run lies."""
    return folder / f"{name}-{noise}-{seed}{f'-{method}' if method else ''}".replace(" ", "_").replace(":", "_")


def everything(found: pd.DataFrame) -> str:
    """The table of all sets, and the means."""
    rows = []
    for (name, noise), own in found.groupby(["data", "noise"], sort=False):
        mean = own.mean(numeric_only=True)

        def cell(key: str, other: str = "", digits: int = 3, mean: pd.Series = mean) -> str:
            texts = [
                f"{mean[each]:.{digits}f}" if each in mean and mean[each] == mean[each] else "-"
                for each in (key, other)
                if each
            ]
            return " / ".join(texts)

        rows.append([
            str(name), str(noise), cell("wrong", digits=2), cell("wrong_share", digits=2),
            cell("auroc", "cleanlab_auroc"),
            cell("ap", "cleanlab_ap"), cell("f1", "cleanlab_f1"), cell("fix_precision", digits=2),
            cell("fix_recall", digits=2), cell("wrong_after_fix", digits=3), str(own["method"].iloc[0]),
        ])  # fmt: skip
    heads = ["data", "noise", "wrong", "estimated", "AUROC, ours / cleanlab", "AP", "F1", "fix: wrong", "fix: found",
             "wrong after fix", "method"]  # fmt: skip
    inside = (found["wrong_share_low"] <= found["wrong"]) & (found["wrong"] <= found["wrong_share_high"])
    worse = found[found["wrong_after_fix"] > found["wrong"]]
    groups = found.groupby(["data", "noise"]).mean(numeric_only=True)
    noisy = groups.dropna(subset=["auroc"])
    behind = noisy[noisy["auroc"] < noisy["cleanlab_auroc"] - 0.001]
    means = ", ".join(
        f"{key} {noisy[key].mean():.3f} / {noisy[f'cleanlab_{key}'].mean():.3f}" for key in ("auroc", "ap", "f1")
    )
    off, sure = (found["wrong_share"] - found["wrong"]).abs().mean(), 100 * inside.mean()
    names = ", ".join(" ".join(key) for key in behind.index) or "none"
    return "\n".join([
        table(heads, rows), "",
        f"Means over noisy sets, ours / cleanlab: {means}. The estimated share is off by {off:.3f} on average, its 90% "
        f"interval is true in {sure:.0f}% of the runs; calibration error {found['calibration_error'].mean():.3f}. Runs "
        f"that `fix` left with more wrong labels than before: {len(worse)} of {len(found)}. Sets on which cleanlab "
        f"ranks better: {names}. Seeds {', '.join(map(str, sorted(set(found.seed))))}.",
        "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
