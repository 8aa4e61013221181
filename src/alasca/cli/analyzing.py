"""`alasca analyze`: what the theory says of a run of yours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from alasca.cli.codes import ENDED
from alasca.cli.grids import show_grid
from alasca.cli.reproducing import app as app
from alasca.errors import InputError
from alasca.recipe import Place
from alasca.terminal import say

if TYPE_CHECKING:
    from alasca.paper.analysis import Analysis


@app.command
def analyze(
    run: Annotated[Path, Parameter(help="Folder of a run, best one with --history 1.")],
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="Folder for figures and numbers. Default: analysis in the run's.")
    ] = None,
    data_dir: Annotated[str | None, Parameter(help="Where published data are. Default: $ALASCA_DATA.")] = None,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    network: Annotated[
        str | None, Parameter(help="The run's network, where that is package.module:callable: your consent to run it.")
    ] = None,
) -> int:
    """Show what the paper's theory says of a run: Jacobian norms, smoothness, confidence, of right and wrong labels.

    A run that was trained with --history N is drawn over its epochs; of another finished run the end is looked at.

    Example: alasca analyze runs/photos
    """
    from alasca.files import make_folder, write_bytes, write_json
    from alasca.paper import analyse
    from alasca.paper.analysis import FIGURES

    found = analyse(run, Place(data_dir=data_dir, device=device), network)
    folder = out or run / "analysis"
    if (folder / "run.json").exists() or (folder / "analysis.json").is_dir():
        raise InputError(f"out: {folder} holds something else; choose another folder")
    make_folder(folder)
    tell_analysis(found)
    write_json(folder / "analysis.json", {"judged_by": found.judged_by, "looks": found.looks})
    drawn = found.figures()
    for name in FIGURES:
        (folder / f"{name}.svg").unlink(missing_ok=True)  # an earlier analysis may have drawn more
    for name, svg in drawn.items():
        write_bytes(folder / f"{name}.svg", svg.encode())
    say(f"\nNumbers: {folder / 'analysis.json'}")
    if drawn:
        say(f"Figures: {', '.join(f'{folder / name}.svg' for name in drawn)}")
    else:
        say("Over epochs: " + ("one was looked at" if found.kept else "nothing was kept; train with --history 1"))
    return ENDED


def tell_analysis(found: Analysis) -> None:
    """The last look, in tables."""
    last = found.looks[-1]
    part = "" if found.finished else f" of {found.epochs}, which has not ended"
    say(f"{found.title}, epoch {last['epoch'] + 1}{part}; clean and noisy by {found.judged_by}")
    if "jacobian" in last:
        clean, noisy = (last["jacobian"].get(group, []) for group in ("clean", "noisy"))
        slopes, rows = last.get("slope", [None] * found.stages), []
        for k in range(found.stages):
            both = k < len(clean) and k < len(noisy)
            ratio = f"{clean[k] / noisy[k]:.2f}" if both and noisy[k] else "-"
            cells = [f"{each[k]:.4g}" if k < len(each) else "-" for each in (clean, noisy)]
            rows.append([f"stage {k + 1}", *cells, ratio, "-" if slopes[k] is None else f"{slopes[k]:.3g}"])
        show_grid("Jacobian norms", ["", "clean", "noisy", "clean / noisy", "slope"], rows)
    heads = len(last["entropy"])
    rows = []
    for k in range(heads):
        name = "main" if k == heads - 1 else f"sub {k + 1}"
        test = [
            f"{last[key][k]:.4g}" if key in last else "-"
            for key in ("test_accuracy", "test_entropy", "test_calibration")
        ]
        rows.append([name, f"{last['entropy'][k]:.3g}", f"{last['omega'][k]:.3g}", *test])
    show_grid(
        "Classifiers, sub-classifiers first",
        ["", "entropy", "Omega/K", "test accuracy", "test entropy", "test ECE"],
        rows,
    )
    rows = []
    for key, name in (("instant", "of one visit"), ("ema", "averaged")):
        if key in last:
            one = last[key]
            cells = [
                f"{one[group][0]:.3f} ± {one[group][1]:.3f}" if group in one else "-" for group in ("clean", "noisy")
            ]
            ranks = f"{one['auroc']:.3f}" if "auroc" in one else "-"
            rows.append([name, *cells, ranks, f"{one['change']:.3f}" if "change" in one else "-"])
    if rows:
        heads_of = ["", "clean", "noisy", "AUROC", "change an epoch"]
        show_grid("Confidence in the given label", heads_of, rows)
