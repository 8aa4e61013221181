"""`RobustClassifier`: scikit-learn's protocol, and what it is for."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from alasca import InputError, RobustClassifier


def in_short(check):
    """A check of scikit-learn's, with few epochs; one that fits many times is for the long run of the tests."""
    name = getattr(check, "func", check).__name__
    return pytest.param(check, id=name, marks=[pytest.mark.long] if name in SLOW else [])


SLOW = {
    "check_classifiers_classes", "check_classifiers_train", "check_classifier_data_not_an_array",
    "check_estimators_dtypes", "check_supervised_y_2d", "check_pipeline_consistency", "check_estimators_nan_inf",
}  # fmt: skip
CHECKS = [check for _, check in estimator_checks_generator(RobustClassifier(device="cpu", epochs=12))]


@pytest.mark.parametrize("check", [in_short(check) for check in CHECKS])
def test_the_checks_of_scikit_learn(check):
    check(RobustClassifier(device="cpu", epochs=12))


@pytest.mark.long
@parametrize_with_checks([RobustClassifier(device="cpu")])
def test_the_checks_of_scikit_learn_with_defaults(estimator, check):
    check(estimator)


def blobs(count: int = 120, share: float = 0.15, seed: int = 0):
    """Three groups of points, their true labels, and labels of which a share is wrong."""
    rng = np.random.default_rng(seed)
    true = np.arange(count) % 3
    points = np.eye(3)[true] * 3 + rng.normal(size=(count, 3)) * 0.6
    given = true.copy()
    wrong = rng.permutation(count)[: round(share * count)]
    given[wrong] = (true[wrong] + rng.integers(1, 3, len(wrong))) % 3
    return points, true, given


def fast(**settings) -> RobustClassifier:
    return RobustClassifier(**{"epochs": 15, "device": "cpu", "random_state": 0, **settings})


def test_labels_of_any_kind_come_back():
    points, true, given = blobs()
    names = np.array(["ant", "bee", "cat"])
    for labels in (given, names[given], given * 10 - 10, names[given].astype(object)):
        found = fast().fit(points, labels)
        assert found.classes_.tolist() == sorted(set(labels.tolist()))
        assert (found.predict(points) == np.unique(labels)[true]).mean() > 0.95
        assert found.predict_proba(points).sum(1) == pytest.approx(np.ones(len(points)))
        assert (found.suggested_labels_ == np.unique(labels)[true]).mean() > 0.95
        issues = found.label_issues_
        assert issues["given_label"].tolist() == labels.tolist()
        assert issues.as_mask()[given != true].mean() > 0.8
        low, high = found.noise_rate_interval_
        assert low <= 0.15 <= high
        assert len(found.history_) == 15


@pytest.mark.long
def test_inputs_of_any_kind(tmp_path):
    points, true, given = blobs()
    frame = pd.DataFrame(points, columns=["a", "b", "c"]).assign(where=np.array(["x", "y", "z"])[true])
    texts = [f"word{k} and word{k} {j % 5}" for j, k in enumerate(true)]
    pictures = np.zeros((len(true), 12, 12), dtype=np.uint8)
    for k, label in enumerate(true):
        pictures[k, 4 * label : 4 * label + 4] = 200
    pictures += np.random.default_rng(0).integers(0, 40, pictures.shape, dtype=np.uint8)
    dataset = torch.utils.data.TensorDataset(torch.tensor(points, dtype=torch.float32), torch.tensor(given))
    for X in (torch.tensor(points), points.tolist(), frame, texts, pd.Series(texts), pictures, torch.tensor(pictures)):
        found = fast(epochs=20, batch_size=16).fit(X, given)
        assert (found.predict(X) == true).mean() > 0.9, type(X)
    assert (fast().fit(dataset).predict(points) == true).mean() > 0.9
    shuffled = frame.iloc[np.random.default_rng(0).permutation(len(frame))]
    assert fast().fit(shuffled, given[shuffled.index]).label_issues_.index.tolist() == shuffled.index.tolist()
    fitted = fast().fit(frame, given)
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c", "where"]
    with pytest.raises(ValueError, match="the classifier was fitted to a, b, c, where"):
        fitted.predict(frame[["a", "b", "where", "c"]])
    with pytest.raises(ValueError, match="leave y out"):
        fast().fit(dataset, given)


@pytest.mark.long
def test_with_scikit_learn_s_tools():
    points, true, given = blobs()
    piped = make_pipeline(StandardScaler(), fast(epochs=6)).fit(points, given)
    assert (piped.predict(points) == true).mean() > 0.9
    search = GridSearchCV(fast(epochs=4), {"alasca": [True, False]}, cv=2).fit(points, given)
    assert search.best_score_ > 0.6
    outside = cross_val_predict(fast(epochs=8), points, given, cv=3, method="predict_proba")
    assert outside.shape == (120, 3)


@pytest.mark.long
def test_the_same_seed_gives_the_same_and_another_does_not():
    points, _, given = blobs()
    first, again, other = (fast(random_state=seed).fit(points, given).predict_proba(points) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()
    state = np.random.RandomState(3)
    assert (fast(random_state=state).fit(points, given).predict_proba(points) != first).any()


def test_saved_without_pickle_and_pickled(tmp_path):
    points, _, given = blobs()
    names = np.array(["ant", "bee", "cat"])
    for X, y in (
        (points, given),
        (pd.DataFrame(points, columns=list("abc")), names[given]),
        ([f"w{k}" for k in given], given),
    ):
        fitted = fast(epochs=6).fit(X, y)
        folder = tmp_path / f"saved{len(list(tmp_path.iterdir()))}"
        fitted.save(folder)
        for other in (RobustClassifier.load(folder), pickle.loads(pickle.dumps(fitted))):  # noqa: S301  # ours
            assert other.classes_.tolist() == fitted.classes_.tolist()
            assert (other.predict_proba(X) == fitted.predict_proba(X)).all()
            assert other.label_issues_["decision"].tolist() == fitted.label_issues_["decision"].tolist()
            assert other.noise_rate_ == fitted.noise_rate_
        assert not list(folder.rglob("*.pkl"))
        with pytest.raises(InputError, match="is there already"):
            fitted.save(folder)
    loaded = RobustClassifier.load(tmp_path / "saved1")
    assert loaded.feature_names_in_.tolist() == ["a", "b", "c"]
    (tmp_path / "saved0" / "estimator.json").write_text("{}")
    with pytest.raises(InputError, match=r"estimator\.json"):
        RobustClassifier.load(tmp_path / "saved0")
    with pytest.raises(NotFittedError):
        fast().save(tmp_path / "none")


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (np.eye(4), [0, 1, 0], "inconsistent numbers of samples"),
        (np.eye(4), [0, 0, 0, 0], "y has 1 class"),
        (np.eye(4), None, "requires y"),
        (np.full((4, 2), np.nan), [0, 1, 0, 1], "NaN"),
        (np.eye(4), [0.5, 0.1, 0.2, 0.7], "Unknown label type"),
    ],
)
def test_what_does_not_fit_is_a_value_error(X, y, words):
    with pytest.raises(ValueError, match=words):
        fast().fit(X, y)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_pair_noise_on_digits_as_numbers():
    X, y = load_digits(return_X_y=True)
    train, test, right, wanted = train_test_split(X, y, test_size=450, random_state=0, stratify=y)
    rng = np.random.default_rng(0)
    given = np.where(rng.random(len(right)) < 0.4, (right + 1) % 10, right)
    ours = RobustClassifier(random_state=0, device="cpu").fit(train, given)
    near = KNeighborsClassifier(5).fit(train, given).score(test, wanted)
    plain = MLPClassifier(max_iter=100, random_state=0).fit(train / 16, given).score(test / 16, wanted)
    assert ours.score(test, wanted) > max(near, plain) + 0.1
    fix = (ours.label_issues_["decision"] == "fix").to_numpy()
    assert (given != right)[fix].mean() > 0.85


def test_numbers_that_are_missing_in_a_data_frame():
    """The median stands for them, another column says which; a frame in which none was missing may miss none later."""
    points, true, given = blobs()
    frame = pd.DataFrame(points, columns=["a", "b", "c"])
    gaps = frame.copy()
    gaps.loc[::9, "b"] = np.nan
    fitted = fast().fit(gaps, given)
    assert (fitted.predict(gaps) == true).mean() > 0.9
    assert (fitted.predict(frame) == true).mean() > 0.9
    again = pickle.loads(pickle.dumps(fitted))  # noqa: S301  # its own
    assert (again.predict_proba(frame) == fitted.predict_proba(frame)).all()
    assert (fitted.predict(frame.to_numpy()) == fitted.predict(frame)).all()
    with pytest.raises(ValueError, match="NaN in column 'b', and no number was missing in fit"):
        fast(epochs=1).fit(frame, given).predict(gaps)
    with pytest.raises(ValueError, match="infinity"):
        fast(epochs=1).fit(gaps.assign(c=np.inf), given)
    with pytest.raises(ValueError, match="NaN"):
        fast().fit(gaps.to_numpy(), given)
