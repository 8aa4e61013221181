"""`alasca predict | export`: a trained model in use, here and elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from alasca.cli.cleaning import app as app
from alasca.cli.codes import ENDED
from alasca.errors import InputError
from alasca.terminal import say


@app.command
def predict(
    run: Annotated[Path, Parameter(help="Folder of a finished run.")],
    /,
    *inputs: Annotated[str, Parameter(help="Pictures, folders of such, tables, or texts.")],
    out: Annotated[Path | None, Parameter(help="CSV file. Default: the terminal.")] = None,
    prediction: Annotated[str | None, Parameter(help="main, average, all or sub. Default: the run's.")] = None,
    network: Annotated[
        str | None, Parameter(help="The run's network, where that is package.module:callable: your consent to run it.")
    ] = None,
) -> int:
    """Predict classes: a row a sample with the likeliest class and the probability of each.

    Example: alasca predict runs/photos new/ --out new.csv
    """
    import pandas as pd

    from alasca.files import write_bytes
    from alasca.runs import RunFolder, load, named_inputs

    if not inputs:
        raise InputError("predict: no input given; expected pictures, folders of such, tables, or texts")
    if out is not None and (out.exists() or not out.parent.is_dir()):
        raise InputError(f"out: {out} is there already, or its folder is not; choose another")
    model, recipe = load(run, network), RunFolder.open(run).recipe()
    parts = []
    for names, values in named_inputs(model, recipe, inputs):
        found = model.predict(values, prediction)
        frame = pd.DataFrame(found, columns=list(model.classes))
        best = found.argmax(1)
        frame.insert(0, "probability", found.max(1))
        frame.insert(0, "predicted_label", [model.classes[k] for k in best])
        frame.insert(0, "input", names)
        parts.append(frame)
    text = pd.concat(parts).to_csv(index=False, lineterminator="\n", float_format="%.6f")
    if out is None:
        print(text, end="")
    else:
        write_bytes(out, text.encode())
        say(f"Predictions: {out}")
    return ENDED


@app.command
def export(
    run: Annotated[Path, Parameter(help="Folder of a finished run.")],
    /,
    *,
    to: Annotated[Literal["torch", "onnx", "safetensors"], Parameter(help="Form.")] = "torch",
    out: Annotated[Path | None, Parameter(help="New folder. Default: export-FORM in the run's.")] = None,
    prediction: Annotated[str | None, Parameter(help="main, average, all or sub. Default: the run's.")] = None,
    network: Annotated[
        str | None, Parameter(help="The run's network, where that is package.module:callable: your consent to run it.")
    ] = None,
) -> int:
    """Write the trained model for use without alasca: a program of torch or ONNX, or plain weights, and a model card.

    Example: alasca export runs/photos --to onnx
    """
    from alasca.export import FORMS
    from alasca.export import export as export_model
    from alasca.runs import RunFolder

    found = export_model(RunFolder.open(run), to, out, prediction, network)
    size = (found.folder / FORMS[to]).stat().st_size / 2**20
    say(f"Model:   {found.folder / FORMS[to]} ({size:.1f} MiB)")
    say(f"Card:    {found.folder / 'README.md'}")
    differs = f"differs from that of the run by at most {found.difference:.1g}" if found.difference else "is the run's"
    say(f"Checked: on {found.samples} random inputs every probability {differs}.")
    return ENDED
