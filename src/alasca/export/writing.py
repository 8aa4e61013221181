"""Write a finished run's model in a form that runs without this package, and check that it predicts alike."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alasca.core import own_tensors
from alasca.errors import InputError, missing
from alasca.export.card import card
from alasca.export.deployed import Deployed, farthest, trial
from alasca.files import digest, read_tensors, write_bytes, write_json, write_tensors
from alasca.runs import Model, RunFolder, load
from alasca.surgery import OutputNet, set_arithmetic

FORMS = {"torch": "model.pt2", "onnx": "model.onnx", "safetensors": "model.safetensors"}
"""Forms and the file that holds each."""
ALIKE = 1e-4
"""Largest difference of a probability that is rounding."""
LARGE = 1_500_000_000
"""Bytes of weights from which on ONNX keeps them in a file beside."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: with the model, config.json and README.md.
        difference: the largest of a probability, between the exported model and the run's, on `samples` random inputs.
        samples: how many.
    """

    folder: Path
    difference: float
    samples: int


def export(
    run: RunFolder, form: str, to: Path | None = None, prediction: str | None = None, network: str | None = None
) -> Exported:
    """Write a finished run's model for use elsewhere: a new folder with it, config.json and a model card.

    ``"torch"``: a program for `torch.export.load`, ``"onnx"``: one for ONNX; both take raw samples, any number at once,
    and give probabilities, in float32 whatever the run computed in. ``"safetensors"``: the network's weights by its own
    names, those of sub-classifiers beside them where the prediction reads these. Sub-classifiers that it does not read
    are left out.

    Args:
        run: finished.
        form: see `FORMS`.
        to: new folder; None: ``export-FORM`` in the run's.
        prediction: see `Model.predict`; None: the run's.
        network: see `alasca.load`.

    Raises:
        InputError: a form or prediction that there is not, a folder that is, a library that is missing, a network that
            can't be exported, or that predicts otherwise then; nothing was written.
    """
    if form not in FORMS:
        raise InputError(f"to: {form!r}, expected one of {', '.join(FORMS)}")
    run.done()  # says what to type where it has not ended
    folder = to or run.path / f"export-{form}"
    if os.path.lexists(folder):
        raise InputError(f"out: {folder} is there already; choose another with --out, or remove it")
    if not folder.parent.is_dir():
        raise InputError(f"out: {folder.parent} is no folder")
    model = in_float32(run, network)
    inputs = trial(model)
    with torch.no_grad():
        kinds = list(
            model.method.predictions([net(model.transform.view(inputs, "plain", inputs)) for net in model.nets])
        )
    kind = prediction or model.method.prediction
    if kind not in kinds:
        raise InputError(f"prediction: {kind!r}, expected one of {', '.join(kinds)}")
    expected = probabilities(model, inputs, kind)
    making = folder.parent / f".{folder.name}.making"
    shutil.rmtree(making, ignore_errors=True)  # what a kill left
    making.mkdir()
    try:
        write = {"torch": write_program, "onnx": write_onnx, "safetensors": write_weights}[form]
        difference = write(in_float32(run, network), kind, inputs, expected, making / FORMS[form])
        if not difference <= ALIKE:
            raise InputError(
                f"export: the exported model's probabilities differ from the run's by {difference:.2g}; "
                f"this network can't be written as {form}"
            )
        described = config(run, model, kind, form, inputs, difference)
        if run.network.is_dir():
            shutil.copytree(run.network, making / "network")
        write_json(making / "config.json", described | {"files": digests(making)})
        write_bytes(making / "README.md", card(run, described).encode())
        os.rename(making, folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return Exported(folder, difference, len(inputs))


def in_float32(run: RunFolder, network: str | None) -> Model:
    """A run's model without mixed precision, which few runtimes have."""
    model = load(run.path, network)
    for net in model.nets:
        set_arithmetic(net, "float32", channels_last=False)
    return model


def probabilities(model: Model, inputs: Tensor, kind: str) -> np.ndarray:
    """What a model gives for samples as they are kept."""
    with torch.no_grad():
        view = model.transform.view(inputs, "plain", inputs)
        found: np.ndarray = model.method.predictions([net(view) for net in model.nets])[kind].exp().numpy()
    return found


def traced(model: Model, kind: str, inputs: Tensor, form: str) -> Any:
    """The model as a program for any number of samples."""
    several = {"inputs": {0: torch.export.Dim("samples", min=1)}}
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(Deployed(model, kind), (inputs,), dynamic_shapes=several, strict=False)
    except Exception as error:  # whatever a network of the user's raises while it is traced
        raise InputError(
            f"export: this network can't be written as {form} ({first_line(error)}); --to safetensors keeps its weights"
        ) from error


def write_program(model: Model, kind: str, inputs: Tensor, expected: np.ndarray, path: Path) -> float:
    """A program of torch; how far it is from what is expected, all samples at once and one alone."""
    program = traced(model, kind, inputs, "torch")
    with quiet():
        torch.export.save(program, path)
        again = torch.export.load(path).module()
    with torch.no_grad():
        return max(farthest(again(inputs[:count]).numpy(), expected[:count]) for count in (len(inputs), 1))


def write_onnx(model: Model, kind: str, inputs: Tensor, expected: np.ndarray, path: Path) -> float:
    """The same for ONNX."""
    try:
        import onnx  # noqa: F401  # what torch's own message does not name
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        name = (error.name or "onnx").partition(".")[0]
        raise InputError(f"to: {missing(name, 'onnx', error)}") from error
    program = traced(model, kind, inputs, "onnx")
    size = sum(value.numel() * value.element_size() for value in program.state_dict.values())
    try:
        with quiet():
            torch.onnx.export(
                program, f=str(path), dynamo=True, verbose=False, external_data=size > LARGE, input_names=["inputs"],
                output_names=["probabilities"],
            )  # fmt: skip
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        found = {count: session.run(None, {"inputs": inputs[:count].numpy()})[0] for count in (len(inputs), 1)}
    except Exception as error:  # operators that ONNX lacks
        raise InputError(
            f"export: this network can't be written as onnx ({first_line(error)}); --to torch may do"
        ) from error
    return max(farthest(values, expected[:count]) for count, values in found.items())


def write_weights(model: Model, kind: str, inputs: Tensor, expected: np.ndarray, path: Path) -> float:
    """Weights alone: ``model.safetensors`` by the network's own names, those of further networks and of sub-classifiers
    beside it; 0 where all read back as they were."""
    if kind != "main" and own_tensors(model.method):
        raise InputError(
            f"prediction: {kind!r} takes weights of the method too, which --to safetensors has no place for; "
            "--prediction main, or --to torch"
        )
    wrote: dict[Path, dict[str, Tensor]] = {}
    for number, net in enumerate(model.nets, 1):
        assert isinstance(net, OutputNet)
        ending = "" if number == 1 else f"-{number}"
        wrote[path.with_name(f"model{ending}.safetensors")] = net.backbone.state_dict()
        if kind != "main":
            wrote[path.with_name(f"sub_classifiers{ending}.safetensors")] = net.branches.state_dict()
    for file, tensors in wrote.items():
        write_tensors(file, tensors)
    for net, file in zip(model.nets, (file for file in wrote if file.name.startswith("model")), strict=True):
        assert isinstance(net, OutputNet)
        for value in net.backbone.state_dict().values():
            value.zero_()  # what is compared comes from the files
        net.backbone.load_state_dict(read_tensors(file))
    return farthest(probabilities(model, inputs, kind), expected)


def config(
    run: RunFolder, model: Model, kind: str, form: str, inputs: Tensor, difference: float
) -> dict[str, Any]:  # fmt: skip
    """What `config.json` holds: classes, what goes in and comes out, how inputs are made."""
    transform = model.transform
    made = {name: value for name, value in transform.as_json().items() if name not in ("shift", "flip")}
    places = [net.places for net in model.nets if isinstance(net, OutputNet)]
    settings = run.settings()
    return {
        "form": form,
        "classes": list(model.classes),
        "prediction": kind,
        "inputs": {"dtype": str(inputs.dtype).removeprefix("torch."), "shape": ["samples", *model.raw_shape]},
        "outputs": {"probabilities": ["samples", len(model.classes)]},
        "preprocessing": {**made, "inside": form != "safetensors"},
        "network": settings["recipe"]["network"],
        "networks": len(model.nets),
        "sub_classifiers": [] if kind == "main" else places,
        "method": settings["title"],
        "checked": {"samples": len(inputs), "largest_difference": difference},
        "alasca": settings["alasca"],
    }


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file."""
    files = sorted(entry for entry in folder.rglob("*") if entry.is_file())
    return {entry.relative_to(folder).as_posix(): digest(entry) for entry in files}


def first_line(error: BaseException) -> str:
    """What an error says, in short."""
    return (" ".join(str(error).split()) or type(error).__name__)[:160]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep exporters' own talk from the terminal; errors are raised all the same."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        before, logging.root.manager.disable = logging.root.manager.disable, logging.WARNING
        try:
            yield
        finally:
            logging.root.manager.disable = before
