"""`clean --auto`: what is tried, what is taken, what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alasca import InputError, Place, Recipe, Task, load
from alasca.cli import main
from alasca.engine import Progress
from alasca.runs import RunFolder
from alasca.training import Trial, choices, chosen, suited, told

PLACE = Place(device="cpu")


def pictures(side: int) -> Task:
    return Task.from_arrays(np.random.default_rng(0).integers(0, 256, (20, side, side), dtype=np.uint8), [0, 1] * 10)


def two_moons(count: int = 120, wrong: float = 0.0) -> Task:
    rng = np.random.default_rng(0)
    y = np.arange(count) % 2
    x = rng.normal(size=(count, 2)) + 3 * y[:, None]
    given = np.where(rng.random(count) < wrong, 1 - y, y)
    return Task.from_arrays(x, given, truth=y)


def test_what_is_tried():
    methods = [{"method": "elr"}, {"method": "gce"}]
    large = Recipe(**suited(pictures(16)))
    assert choices(large, pictures(16), ("epochs",)) == [methods, [{"augment": "weak"}, {"lr": 0.0125}]]
    assert choices(replace(large, augment="weak"), pictures(16), ("method",)) == [
        [{"augment": "strong"}, {"lr": 0.0125}]
    ]
    long = {"augment": "weak", "epochs": 60}
    assert choices(replace(large, epochs=120), pictures(16), ("method", "lr")) == [[long]], "as weak views are trained"
    assert choices(replace(large, lr_min=0.02), pictures(16), ("method", "augment")) == [], (
        "it would end above its begin"
    )
    small = Recipe(**suited(pictures(8)))
    assert choices(small, pictures(8), ("lr",)) == [[{"method": "ce"}, {"method": "gce"}]]
    assert choices(small, pictures(8), ("lr", "options")) == [], "options are a method's"


@pytest.mark.parametrize(
    ("agreements", "best"),
    [
        ({"": 0.70, "elr": 0.72, "gce": 0.80, "gce weak": 0.79, "gce slow": 0.805}, {"method": "gce"}),
        (
            {"": 0.70, "elr": 0.72, "gce": 0.71, "elr weak": 0.75, "elr slow": 0.74},
            {"method": "elr", "augment": "weak", "epochs": 60},
        ),
        ({"": 0.70, "elr": 0.705, "gce": 0.71, "weak": None, "slow": 0.711}, {"lr": 0.0125}),
        ({"": None, "elr": None, "gce": 0.2, "gce weak": 0.2, "gce slow": None}, {"method": "gce"}),
    ],
)
def test_the_best_try_is_taken(agreements: dict, best: dict, monkeypatch: pytest.MonkeyPatch):
    """Each round starts from the winner of the one before; ahead by a standard error, here 0.01, counts."""
    left = dict(agreements)

    def tried(recipe: Recipe, change: dict, *_: object) -> Trial:
        name = " ".join([*filter(None, [change.get("method")]), *(["weak"] if "augment" in change else []),
                         *(["slow"] if "lr" in change else [])])  # fmt: skip
        return Trial(change, left.pop(name), 0.01)

    monkeypatch.setattr("alasca.training.trying.tried", tried)
    found, trials = chosen(Recipe(**suited(pictures(16))), pictures(16), PLACE, ())
    assert found.change == best
    assert not left, "all were tried"
    assert len(trials) == 5


def test_a_try_that_breaks_is_told_and_never_taken():
    best, trials = chosen(Recipe(epochs=2, lr=1e18), two_moons(), PLACE, ("method",))
    assert [trial.agreement for trial in trials] == [None, None]
    assert best is trials[0]


def test_held_out_labels_are_given_ones_and_nobody_elses():
    """With every held-out label right, a sound network agrees with nearly all; with 40% wrong, with about 60%."""
    recipe = Recipe(epochs=8, val_fraction=0.0, method="gce")
    (right, *_), (wrong, *_) = (
        chosen(recipe, two_moons(400, rate), PLACE, ("method", "lr"))[1] for rate in (0.0, 0.4)
    )  # fmt: skip
    assert right.agreement is not None
    assert right.agreement > 0.9
    assert wrong.agreement == pytest.approx(0.6, abs=0.12)
    assert wrong.error == pytest.approx((0.6 * 0.4 / 80) ** 0.5, abs=0.01)


def test_a_try_is_judged_by_its_last_epoch():
    seen = []

    class Noting(Progress):
        def epoch(self, record: dict) -> None:
            seen.append(record["val_accuracy"] / 100)

    (trial,) = chosen(Recipe(epochs=6, val_fraction=0.3, lr=0.003), two_moons(), PLACE, ("method", "lr"), Noting())[1]
    assert len(seen) == 6
    assert trial.agreement == seen[-1] != seen[0]
    assert trial.error == pytest.approx((seen[-1] * (1 - seen[-1]) / 36) ** 0.5), "0.3 of 120, as was given"


def test_nothing_to_hold_out():
    task = Task.from_arrays(np.eye(4), [0, 1, 2, 3])
    with pytest.raises(InputError, match="auto: no sample with a label can be held out"):
        chosen(Recipe(epochs=2, batch_size=2), task, PLACE, ("method", "lr"))


def test_tries_share_their_half_of_the_time(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch):
    """Of 10 minutes 5 are the training's, and of the others each of 2 tries has half; no try is longer than the run."""
    asked = []

    def within(recipe: Recipe, task: Task, place: Place, minutes: float) -> tuple[Recipe, str]:
        asked.append((recipe.epochs, minutes))
        return replace(recipe, epochs=2 if minutes == 5 else 3), "noted"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("alasca.training.within", within)
    rows = two_moons(40)
    lines = [f"{a},{b},{'uv'[k]}" for (a, b), k in zip(rows.inputs.tolist(), rows.labels.tolist(), strict=True)]
    Path("t.csv").write_text("\n".join(["a,b,label", *lines]))
    with pytest.raises(SystemExit) as ended:
        main(["clean", "t.csv", "--auto", "--minutes", "10", "--method", "ce", "--out", "run"])
    assert ended.value.code == 0
    assert asked == [(60, 5.0), (60, 2.5)]
    assert "tries 2 settings on labels that are held out, 2 epochs each" in " ".join(capsys.readouterr().out.split())


@pytest.mark.long
def test_labels_of_a_file_decide_what_is_balanced(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = two_moons(60)
    lines = [f"r{k},{a},{b},{'uv'[k % 2]}" for k, (a, b) in enumerate(rows.inputs.tolist())]
    Path("t.csv").write_text("\n".join(["id,a,b,label", *lines]))
    Path("l.csv").write_text("\n".join(["id,label", *(f"r{k},{'u' if k < 9 else 'v'}" for k in range(60))]))
    for more, balance in (([], 0.0), (["--labels", "l.csv"], 0.5), (["--labels", "l.csv", "--balance", "0"], 0.0)):
        out = f"run{len(more)}"
        with pytest.raises(SystemExit):
            main(["clean", "t.csv", "--epochs", "1", *more, "--out", out])
        assert RunFolder.open(Path(out)).recipe().balance == balance


def test_what_is_said():
    first, second = Trial({}, 0.7, 0.02), Trial({"method": "gce"}, 0.8, 0.02)
    assert told(Recipe(method="elr"), second, [first, second]) == (
        "elr + ALASCA agrees with 70.0% of held-out labels; method gce: 80.0%; takes method gce"
    )


def test_clean_tries(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """A table whose network learns little at the rate given takes what its tries say; then all are trained on."""
    monkeypatch.chdir(tmp_path)
    rows = two_moons(80)
    lines = [f"{a},{b},{'uv'[k]}" for (a, b), k in zip(rows.inputs.tolist(), rows.labels.tolist(), strict=True)]
    Path("t.csv").write_text("\n".join(["a,b,label", *lines]))
    with pytest.raises(SystemExit) as ended:
        main(["clean", "t.csv", "--auto", "--epochs", "2", "--method", "ce", "--out", "run"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "tries 2 settings on labels that are held out, 2 epochs each" in said
    assert "tried ce + ALASCA agrees with" in said
    run = RunFolder.open(Path("run"))
    assert not run.records().held.any()
    assert load(run.path).predict(rows.inputs.numpy()).shape == (80, 2)
    with pytest.raises(SystemExit) as ended:
        main(["clean", "t.csv", "--auto", "--out", "run"])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert "exists already" in said.err
    assert "tries" not in said.out
