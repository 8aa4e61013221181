"""The model card: what a model is, what it learned from, how good it is, and the lines that use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alasca.runs import RunFolder

TAGS = {"pictures": "image-classification", "numbers": "tabular-classification", "texts": "text-classification"}
KINDS = {"pictures": "pictures", "numbers": "rows of numbers", "texts": "texts"}
NAMED = 50
"""Classes that the card names."""

USES = {
    "torch": """import torch

program = torch.export.load("model.pt2").module()
probabilities = program(inputs)                  # [N, {classes}]""",
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
probabilities = session.run(None, {{"inputs": inputs}})[0]   # inputs: an array; [N, {classes}]""",
    "safetensors": """from safetensors.torch import load_file

net.load_state_dict(load_file("model.safetensors"))   # net: your own network ({network}) of {classes} classes
logits = net.eval()(inputs)""",
}


NUMBERS = """import json
from pathlib import Path
import numpy as np

parts = []
for name, _, _, median, _ in json.loads(Path("config.json").read_text())["preprocessing"]["columns"]:
    column = frame[name]                         # frame: a pandas data frame of numbers
    parts += [column] if median is None else [column.fillna(median), column.isna()]
inputs = np.stack(parts, 1).astype("float32")
{after}"""
"""How columns of numbers are read; where some were missing in training, another column says which are."""
AFTER = {
    "torch": "import torch\ninputs = torch.from_numpy(inputs)",
    "onnx": "",
    "safetensors": """import torch
made = json.loads(Path("config.json").read_text())["preprocessing"]
inputs = torch.from_numpy((inputs - np.float32(made["mean"])) / np.float32(made["std"]))""",
}


def card(run: RunFolder, described: Mapping[str, Any]) -> str:
    """The text of a model card, in Markdown with the heading that model hubs read.

    Args:
        run: finished.
        described: what `config.json` holds.
    """
    done, settings, records = run.done(), run.settings(), run.records()
    classes = described["classes"]
    wrong = done.get("wrong_share")
    share = "not estimated" if wrong is None else (
        f"about {100 * wrong:.0f}% (90% interval {100 * done['wrong_share_low']:.0f} to "
        f"{100 * done['wrong_share_high']:.0f}%)"
    )  # fmt: skip
    more = f" and {len(classes) - NAMED:,} more" if len(classes) > NAMED else ""
    shown = ", ".join(f"`{name}`" for name in classes[:NAMED]) + more
    kind = described["preprocessing"]["kind"]
    counts = np.bincount(records.given[records.given >= 0], minlength=len(classes))
    lines = [
        "---", f"pipeline_tag: {TAGS[kind]}", "tags: [noisy-labels]", "---", "",
        f"# A classifier of {KINDS[kind]}, {len(classes)} classes", "",
        f"Classes, in the order of the probabilities: {shown}.", "",
        "## Use", "",
        "```python", USES[described["form"]].format(classes=len(classes), network=described["network"]), "```", "",
        *inputs_of(described), "",
        f"`config.json` has the classes, the preprocessing and the checksums. {checked(described)}", "",
        "## What it learned from", "",
        f"- {counts.sum():,} labelled samples; share of wrong labels: {share}.",
        f"- Smallest and largest class: {extremes(counts, classes)}.",
        f"- Method: {described['method']}, {done['epochs']} epochs; network: {described['network']}.",
        f"- Its predictions are those of {VOTERS.get(described['prediction'], described['prediction'])}.",
        f"- Trained with alasca {settings['alasca']}, {settings['created'][:10]}.", "",
        "## How good it is", "", *accuracies(run, described["prediction"]), "",
        "## Limits", "",
        "It knows the classes above and no others: what is none of them gets one of them all the same. Its labels were "
        "partly wrong; errors that follow from the inputs, as those of a rule, may have been learned. Probabilities "
        "are not calibrated.", "",
    ]  # fmt: skip
    return "\n".join(lines)


VOTERS = {
    "main": "the main classifier",
    "average": "the main classifier and the deepest sub-classifier, averaged",
    "all": "the main classifier and all sub-classifiers, averaged",
    "sub": "the sub-classifiers, averaged",
    "ensemble": "all branches",
}


def checked(described: Mapping[str, Any]) -> str:
    """What was compared."""
    found = described["checked"]
    return (
        f"On {found['samples']} random inputs its probabilities differ from those of the run's network, computed in "
        f"float32, by at most {found['largest_difference']:.1g}."
    )


def extremes(counts: np.ndarray, classes: list[str]) -> str:
    """The smallest and the largest class with their labels."""
    return " and ".join(f"{classes[k]} ({counts[k]:,})" for k in (int(counts.argmin()), int(counts.argmax())))


def inputs_of(described: Mapping[str, Any]) -> list[str]:
    """What goes in, and how it is made."""
    made, shape = described["preprocessing"], described["inputs"]["shape"]
    size = f"[N, {', '.join(map(str, shape[1:]))}]"
    if described["form"] == "safetensors":
        lines = [f"`inputs`: float32 {size}, made from raw values so:"]
        if made["kind"] == "pictures":
            cut = f"the middle {made['crop']} x {made['crop']} pixels of " if made["crop"] else ""
            lines.append(f"{cut}bytes / 255, less `mean`, by `std` of each channel (`config.json`).")
        elif made["mean"] is not None:
            lines.append("less `mean`, by `std` of each column (`config.json`).")
        else:
            lines = [f"`inputs`: token ids, int64 {size}."]
        if described["prediction"] != "main":
            lines.append(
                "The predictions of the run average the sub-classifiers' too: `sub_classifiers.safetensors` has "
                "their weights; this network alone gives those of the main classifier."
            )
        return [*lines, *raw(described)]
    return [f"`inputs`: {described['inputs']['dtype']} {size}; scaling is part of the model.", *raw(described)]


def raw(described: Mapping[str, Any]) -> list[str]:
    """How raw samples become numbers."""
    made = described["preprocessing"]
    if made["kind"] == "pictures" and made["size"]:
        side = made["size"]
        fit = f"ImageOps.fit(picture, ({side}, {side}))" if made["keep_ratio"] else f"picture.resize(({side}, {side}))"
        return [
            "", "A picture's bytes come from a file so:", "",
            "```python", "import numpy as np", "from PIL import Image, ImageOps", "",
            'picture = ImageOps.exif_transpose(Image.open("a.jpg")).convert("RGB")',
            f"pixels = np.asarray({fit}).transpose(2, 0, 1)[None]", "```", "",
            "Transparent pictures are laid on white first, as in training; those of more than 8 bits are scaled by "
            "`span`.",
        ]  # fmt: skip
    if made["columns"]:
        names = ", ".join(str(column[0]) for column in made["columns"][:NAMED])
        if all(column[1] == "number" for column in made["columns"]):
            code = NUMBERS.format(after=AFTER[described["form"]]).strip()
            return ["", f"Columns: {names}. They become `inputs` so:", "", "```python", code, "```"]
        return [
            "", f"Columns: {names}. `alasca.load(RUN).read(frame)` makes the numbers of a data frame, categories, "
            "dates and missing values too; `preprocessing.columns` in `config.json` says how.",
        ]  # fmt: skip
    if made["kind"] == "texts":
        where = "the tokenizer in `network/`" if made["words"] is None else "`preprocessing.words` in `config.json`"
        return ["", f"`alasca.load(RUN).read(texts)` makes the token ids of texts, by {where}."]
    return []


def accuracies(run: RunFolder, prediction: str) -> list[str]:
    """What is known of the accuracy of a prediction."""
    done, found = run.done(), []
    for key, words in (
        ("test_accuracy", "Accuracy on the test set"),
        ("val_accuracy", "Agreement with the (partly wrong) labels of samples that were held out"),
    ):
        value = done.get(f"{key}_{prediction}_last", done.get(f"{key}_last"))
        if value is not None:
            found.append(f"- {words}: {value:.1f}%")
    return found or ["Nothing was held out to measure it on."]
