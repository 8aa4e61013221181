"""`RobustClassifier`: a scikit-learn classifier that wrong labels do not spoil, and that finds them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor
from torch.utils.data import Dataset

from alasca.audit.issues import LabelIssues
from alasca.data import Task
from alasca.data.raw import read_raw
from alasca.data.sources.memory import read_dataset
from alasca.engine import Progress
from alasca.errors import InputError
from alasca.files import read_json, write_json
from alasca.recipe import Place, Recipe
from alasca.runs import Model, RunFolder, load
from alasca.training import suited, train
from alasca.values import conform

KEPT = (
    "run.json",
    "done.json",
    "model.json",
    "model.safetensors",
    "labels.safetensors",
    "metrics.jsonl",
    "samples.csv",
)
"""Files of a run that a fitted classifier is made of."""
BLOCK = 512
ESTIMATOR = "estimator.json"


class Kept(TypedDict):
    """``estimator.json``: labels as texts and their types, parameters, names of columns."""

    classes: list[str]
    kinds: list[str]
    params: dict[str, Any]
    features: list[str]


class RobustClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types here
    """A network trained inside ALASCA, which learns little from wrong labels and says which look wrong.

    Settings that are None are those that suit the data: see ``docs/audit.md``. All labels are trained on and judged.

    Args:
        method: for the main classifier; ``alasca list methods`` names them.
        network: ``"auto"``, or as ``--network`` takes it.
        epochs, batch_size, lr: of the training.
        alasca: whether the method is wrapped in ALASCA.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        random_state: seed of everything random, or a `numpy.random.RandomState`.
        verbose: whether to show the training.

    Attributes:
        classes_: labels in order ``[K]``.
        label_issues_: a `LabelIssues` frame with a row for every sample, in the order of `X` and with its index.
        suggested_labels_: the labels, with those replaced whose change is expected to help ``[N]``.
        noise_rate_: estimated share of wrong labels; `noise_rate_interval_`: its 90% interval.
        history_: a record of figures an epoch.
        n_features_in_: columns of `X`, where it has such.

    `predict_proba` gives the mean probabilities of the network's classifiers. Trained with wrong labels among right
    ones, they are less sure than they are right: their order is to be trusted more than their size.

    >>> X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2
    >>> X[:, 0] += 4 * y
    >>> RobustClassifier(random_state=0).fit(X, y).predict(X[:4]).tolist()
    [0, 1, 0, 1]
    """

    def __init__(
        self,
        *,
        method: str | None = None,
        network: str = "auto",
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        alasca: bool = True,
        device: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.method = method
        self.network = network
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.alasca = alasca
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on samples and their labels, some of which may be wrong.

        Args:
            X: rows of numbers ``[N, D]``, pictures ``[N, H, W]``, ``[N, H, W, C]`` or ``[N, C, H, W]`` (bytes, or
                floats from 0 to 1), as arrays or tensors; a data frame; a list of texts; or a torch `Dataset` of
                samples with labels.
            y: labels ``[N]``: numbers or texts, none missing (-1 is a class like any other); None where `X` is a
                `Dataset`.

        Raises:
            ValueError: what does not fit together.
        """
        if isinstance(X, Dataset):
            if y is not None:
                raise ValueError("y: labels are given, but X is a Dataset that has its own; leave y out")
            X, y = read_dataset(X)
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        index = getattr(X, "index", None)
        X = self._checked(X, y)
        y = column_or_1d(as_array(y), warn=True)
        if len(X) != len(y):
            raise ValueError(f"Found input variables with inconsistent numbers of samples: {[len(X), len(y)]}")
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has 1 class ({self.classes_[0]!r}), expected at least 2 classes")
        task = Task.from_arrays(X, labels, classes=[f"class {k}" for k in range(len(self.classes_))])
        own = {name: getattr(self, name) for name in ("method", "epochs", "batch_size", "lr")}
        seed = self.random_state
        if not isinstance(seed, (int, np.integer)):
            seed = check_random_state(seed).randint(np.iinfo(np.int32).max)
        settings = suited(task, {}, self.device) | {name: value for name, value in own.items() if value is not None}
        recipe = Recipe(network=self.network, alasca=self.alasca, seed=int(seed), **settings)
        with tempfile.TemporaryDirectory(prefix="alasca-") as folder:
            progress = Progress.for_terminal(announces=False) if self.verbose else None
            run = train(recipe, task, Place(device=self.device), Path(folder) / "run", progress)
            self._take(run)
        if isinstance(index, pd.Index):
            self.label_issues_.index = index
        return self

    def _take(self, run: RunFolder) -> None:
        """What a finished run knows, and its files, from which the model is made again wherever this object goes."""
        records, done = run.records(), run.done()
        names = self.classes_
        self.label_issues_ = LabelIssues({
            "is_label_issue": records.issue, "label_quality": records.quality, "given_label": names[records.given],
            "predicted_label": names[records.predicted], "suggested_label": names[records.suggested],
            "decision": records.decision, "suggested_probability": records.suggested_probability,
        })  # fmt: skip
        self.suggested_labels_ = np.where(records.decision == "fix", names[records.suggested], names[records.given])
        self.noise_rate_ = done.get("wrong_share")
        self.noise_rate_interval_ = (done.get("wrong_share_low"), done.get("wrong_share_high"))
        self.label_issues_.attrs = {
            "wrong_share": self.noise_rate_, "wrong_share_interval": self.noise_rate_interval_,
            "findings": list(done["findings"]),
        }  # fmt: skip
        self.history_ = run.history()
        files = [*KEPT, *(f"network/{path.name}" for path in run.network.glob("*"))]
        self.files_ = {name: (run.path / name).read_bytes() for name in files if (run.path / name).is_file()}
        self._model = load(run.path, self.network if ":" in self.network else None)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes ``[N, K]``, columns in the order of `classes_`."""
        check_is_fitted(self)
        return probabilities(self._loaded(), self._checked(X))

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each sample ``[N]``."""
        best = self.predict_proba(X).argmax(1)
        found: np.ndarray = self.classes_[best]
        return found

    def save(self, path: str | Path) -> None:
        """Write the fitted classifier into a new folder: safetensors, JSON and CSV, nothing that runs when it is read.

        Raises:
            InputError: something is there already.
        """
        check_is_fitted(self)
        folder = Path(path)
        if folder.exists():
            raise InputError(f"save: {folder} is there already; choose another folder")
        self._write(folder)
        kinds = [type(each.item() if isinstance(each, np.generic) else each).__name__ for each in self.classes_]
        params = {name: value for name, value in self.get_params().items() if name != "random_state"}
        write_json(folder / ESTIMATOR, {
            "classes": [str(each) for each in self.classes_], "kinds": kinds, "params": params,
            "features": list(getattr(self, "feature_names_in_", [])),
        })  # fmt: skip

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A classifier that `save` wrote; nothing in the folder is executed.

        Raises:
            InputError: it holds no such classifier.
        """
        folder = Path(path)
        kept = read_json(folder / ESTIMATOR)
        conform(kept, Kept, str(folder / ESTIMATOR))
        made = cls(**kept["params"])
        readers: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": lambda text: text == "True"}
        pairs = zip(kept["classes"], kept["kinds"], strict=True)
        made.classes_ = np.array([readers.get(kind, str)(text) for text, kind in pairs])
        made._take(RunFolder.open(folder))
        if made._model.transform.kind == "numbers":
            made.n_features_in_ = len(kept["features"]) or made._model.raw_shape[0]
        if kept["features"]:
            made.feature_names_in_ = np.array(kept["features"], dtype=object)
        return made

    def _write(self, folder: Path) -> None:
        """The run's files."""
        for name, content in self.files_.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def _loaded(self) -> Model:
        """The model, made from its files where this object came from elsewhere."""
        found: Model | None = self.__dict__.get("_model")
        if found is None:
            folder = Path(tempfile.mkdtemp(prefix="alasca-"))
            try:
                self._write(folder)
                found = load(folder, self.network if ":" in self.network else None)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_model"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "files_" in self.__dict__:
            self._model = self._loaded()

    def _checked(self, X: Any, y: Any = None) -> Any:
        """Samples as `Task.from_arrays` takes them; rows of numbers by scikit-learn's rules."""
        fresh = y is not None
        kind = kind_of(X)
        if not fresh and kind in ("frame", "numbers"):
            X, kind = self._as_fitted(X)
        if kind == "texts":
            return [str(text) for text in X]
        if kind in ("pictures", "frame"):
            if kind == "frame":
                validate_names(self, X, fresh)
                refuse_infinite(X)
            return X if kind == "frame" else as_array(X)
        if fresh:
            found, _ = validate_data(self, X, y, dtype=np.float32, ensure_min_samples=2)
        else:
            found = validate_data(self, X, dtype=np.float32, reset=False)
        return found

    def _as_fitted(self, X: Any) -> tuple[Any, str]:
        """Rows as those that the classifier was fitted to: columns of a data frame, or plain numbers.

        Raises:
            ValueError: a number is missing, and none was in training.
        """
        if self._loaded().transform.columns:
            framed = isinstance(X, pd.DataFrame)
            return X if framed else pd.DataFrame(as_array(X), columns=self.feature_names_in_), "frame"
        if isinstance(X, pd.DataFrame) and (absent := X.columns[X.isna().any()].tolist()):
            raise ValueError(
                f"X: NaN in column {absent[0]!r}, and no number was missing in fit; fill in such cells first"
            )
        return X, "numbers"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = False
        return tags


def validate_names(estimator: RobustClassifier, X: pd.DataFrame, fresh: bool) -> None:
    """Note the columns of a data frame that is trained on, or check those that are predicted."""
    names = np.array(list(map(str, X.columns)), dtype=object)
    if fresh:
        estimator.feature_names_in_, estimator.n_features_in_ = names, len(names)
    elif list(names) != list(estimator.feature_names_in_):
        raise ValueError(
            f"X has columns {', '.join(names)}; the classifier was fitted to {', '.join(estimator.feature_names_in_)}"
        )


def refuse_infinite(X: pd.DataFrame) -> None:
    """Raise `ValueError` for a number without end."""
    for name in X.select_dtypes("number"):
        if np.isinf(X[name].to_numpy(np.float64, na_value=np.nan)).any():
            raise ValueError(f"X: infinity in column {name!r}; expected finite numbers, or none")


def kind_of(X: Any) -> str:
    """What samples are: ``"texts"``, ``"pictures"``, ``"frame"`` (not all columns are numbers, or some are missing) or
    ``"numbers"``."""
    if isinstance(X, pd.DataFrame):
        numbers = all(pd.api.types.is_numeric_dtype(kind) for kind in X.dtypes)
        return "numbers" if numbers and not X.isna().to_numpy().any() else "frame"
    if isinstance(X, Tensor):
        return "pictures" if X.dim() > 2 else "numbers"
    if isinstance(X, (list, tuple, np.ndarray, pd.Series)) and len(X) and np.ndim(X) == 1:
        first = X.iloc[0] if isinstance(X, pd.Series) else X[0]
        if isinstance(first, str):
            return "texts"
    return (
        "pictures" if isinstance(X, np.ndarray) and X.ndim > 2 and X.ndim < 5 and X.dtype.kind in "uif" else "numbers"
    )


def as_array(values: Any) -> Any:
    """Tensors as arrays."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def probabilities(model: Model, X: Any) -> np.ndarray:
    """Probabilities ``[N, K]``; of rows of numbers in float64, so that they do not depend on what is beside them."""
    if model.transform.kind != "numbers":
        return model.predict(X)
    nets, method = [net.double() for net in model.nets], model.method.double()
    values = read_raw(model.transform, X, None)
    parts = []
    with torch.no_grad():
        for rows in torch.split(torch.arange(len(values)), BLOCK):
            view = model.transform.view(values[rows], "plain", rows).double()
            found = method.predictions([net(view) for net in nets])
            parts.append(found[method.prediction].exp())
    return torch.cat(parts).numpy()
