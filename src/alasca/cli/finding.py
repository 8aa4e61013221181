"""`alasca find`: wrong labels from what any model says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from alasca.cli.cleaning import app as app
from alasca.cli.cleaning import tell
from alasca.cli.codes import ENDED
from alasca.errors import InputError
from alasca.terminal import say


@app.command
def find(
    labels: Annotated[Path, Parameter(help="Labels: a .npy file, or a table with a column label.")],
    /,
    *,
    pred_probs: Annotated[
        Path | None,
        Parameter(help="Probabilities of any model, .npy: samples by classes, out of sample; or epochs before these."),
    ] = None,
    features: Annotated[Path | None, Parameter(help="Numbers in which like samples lie near each other, .npy.")] = None,
    label: Annotated[str, Parameter(help="Column of a table's labels.")] = "label",
    classes: Annotated[str | None, Parameter(help="a,b,c in the order of the columns. Default: sorted.")] = None,
    group: Annotated[
        str | None,
        Parameter(help="Column of the table, or .npy file: what goes together never vouches for each other."),
    ] = None,
    out: Annotated[Path, Parameter(help="New CSV file.")] = Path("issues.csv"),
) -> int:
    """Find wrong labels from the probabilities or features of a model that you have.

    Example: alasca find labels.npy --pred-probs probabilities.npy
    """
    import numpy as np

    from alasca.audit.issues import find_label_issues
    from alasca.data.legacy import read_array
    from alasca.data.sources import read_tables
    from alasca.files import open_regular, write_bytes

    if out.exists():
        raise InputError(f"out: {out} is there already; choose another with --out")
    files = {"labels": labels, "pred-probs": pred_probs, "features": features}
    if group is not None and features is None:
        raise InputError("group: without features no sample vouches for another; give --features")
    if group is not None and group.endswith(".npy"):
        files["group"] = Path(group)
    elif group is not None and labels.suffix == ".npy":
        raise InputError(f"group: {group}: the labels are no table with columns; expected a .npy file")
    read: dict[str, Any] = {}
    for name, path in files.items():
        if path is not None and not path.is_file():
            raise InputError(f"{name}: no such file: {path}")
        if path is not None and (name != "labels" or path.suffix == ".npy"):
            try:
                with open_regular(path) as file:
                    read[name] = read_array(file)
            except (OSError, ValueError) as error:
                raise InputError(f"{name}: {path} is no NumPy file of plain numbers or texts ({error})") from error
        elif path is not None:
            table = read_tables(str(path))
            read[name] = table.texts(label)
            if group is not None and "group" not in files:
                read["group"] = table.texts(group)
    names = None if classes is None else [name.strip() for name in classes.split(",")]
    if names is not None:
        read["labels"] = list(map(str, np.asarray(read["labels"]).tolist()))
    found = find_label_issues(
        read["labels"], read.get("pred-probs"), features=read.get("features"), classes=names, groups=read.get("group")
    )
    counts = found["decision"].value_counts()
    tell([*found.attrs["findings"], *(f"{name}: {counts.get(name, 0):,}" for name in ("fix", "review", "keep"))])
    write_bytes(out, found.to_csv(index_label="row", lineterminator="\n", float_format="%.6g").encode())
    say(f"Every label: {out}")
    return ENDED
