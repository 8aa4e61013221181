"""`alasca predict | export`: a trained model in use, here and elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from alasca.cli.codes import ENDED
from alasca.cli.finding import app as app
from alasca.errors import InputError
from alasca.terminal import say, typed


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
    for names, values in named_inputs(model.transform, recipe, inputs):
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
def embed(
    data: Annotated[str, Parameter(help="As alasca clean takes them; with --new, as alasca predict does.")],
    /,
    *more: Annotated[str, Parameter(help="With --new: more pictures, folders, tables or texts.")],
    network: Annotated[str, Parameter(help="timm:NAME for pictures, hf:NAME or hf:./FOLDER for texts.")],
    out: Annotated[Path, Parameter(help="New .npz file.")],
    weights: Annotated[
        Path | None, Parameter(help="Of a timm network, .safetensors. Default: the published ones.")
    ] = None,
    new: Annotated[bool, Parameter(help="Samples without labels, for alasca predict.", negative="")] = False,
    input: Annotated[str | None, Parameter(help="Column of a table's pictures or texts.")] = None,
    label: Annotated[str, Parameter(help="Column of a table's labels.")] = "label",
    id: Annotated[str | None, Parameter(help="Column of sample ids.")] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> int:
    """Write what a network that was trained on other data makes of each sample: a file for --features.

    Published weights are looked for in the library's cache, and loaded from the network where they are not there.

    Example: alasca embed photos/ --network timm:resnet50 --out photos.npz
    """
    import io

    import numpy as np

    from alasca.cli.arguments import data_of
    from alasca.data import Transform, load_task
    from alasca.data.raw import read_raw
    from alasca.files import write_bytes
    from alasca.recipe import Place, Recipe
    from alasca.runs import named_inputs
    from alasca.training import backbone, embedded_batches, embedded_task

    if out.suffix != ".npz" or out.exists() or not out.parent.is_dir():
        raise InputError(f"out: {out}: expected a new .npz file in a folder that is there")
    if more and not new:
        raise InputError(f"embed: {more[0]}: one data set at a time; --new takes several inputs")
    used, ids, size = backbone(network, weights, device), [], None
    recipe = Recipe(input=input, label=label, id=id)
    if new:
        transform = Transform(used.kind, size=used.side or None)
        parts = []
        for names, values in named_inputs(transform, recipe, (data, *more)):
            ids += names
            parts.append(values if used.kind == "texts" else read_raw(transform, values, None))
        numbers = embedded_batches(iter(parts), used)
    else:
        spec = data_of(data)
        size = used.side if used.kind == "pictures" and spec.partition(":")[0] in ("folder", "table", "hf") else None
        task = load_task(replace(recipe, data=spec, image_size=size), Place())
        ids, numbers = list(task.ids), embedded_task(task, used)
    content = io.BytesIO()
    np.savez(content, ids=np.array(ids), x=numbers)
    write_bytes(out, content.getvalue())
    say(f"Features: {out} ({numbers.shape[0]:,} samples by {numbers.shape[1]:,} numbers, {network})")
    if not new:
        say(f"Next:     alasca clean {typed(data)} --features {typed(out)}")
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
