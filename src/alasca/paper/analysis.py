"""What the paper's theory says of any run: Jacobian norms, smoothness, confidence, of right and of wrong labels.

A run that kept looks over its epochs (``--history``) is read as it is; of another finished run the network that it
ended with is looked at once, on the data that it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from alasca.engine import resolve_device
from alasca.engine.looks import Looks
from alasca.errors import InputError
from alasca.networks import require_named
from alasca.paper.draw import all_stages, confidences, main_or_sub
from alasca.paper.drawing import sheet
from alasca.paper.dynamics import dynamics, right_and_wrong
from alasca.paper.experiments import Table
from alasca.paper.outcomes import Outcome
from alasca.paper.protocols import PROTOCOLS
from alasca.recipe import Place, Recipe, found_from
from alasca.runs import RunFolder, Seen, load
from alasca.training import prepare

FIGURES = ("jacobian", "confidence", "smoothness")
"""What is drawn over epochs, where the run kept what it needs."""
TRUTH, VERDICT = "true labels", "what the run itself takes for right and wrong"


@dataclass(frozen=True)
class Analysis:
    """What looks at a run come to.

    Attributes:
        title: of the run.
        stages: how many its network has.
        judged_by: `TRUTH` or `VERDICT`: what "clean" and "noisy" labels are told apart by.
        looks: figures of `dynamics`, the first epoch first; one where the run kept no history.
        kept: whether the run kept looks.
        epochs: of the whole run.
        finished: whether it has ended.
    """

    title: str
    stages: int
    judged_by: str
    looks: list[dict[str, Any]]
    kept: bool
    epochs: int
    finished: bool

    @property
    def over_epochs(self) -> bool:
        """Whether there are looks at several epochs."""
        return len(self.looks) > 1

    def figures(self) -> dict[str, str]:
        """Drawings over epochs as SVG, by name; none where there is one look only."""
        if not self.over_epochs:
            return {}
        run = cast(Outcome, {"looks": self.looks, "figures": {}, "epochs": {}, "recipe": {"seed": 0}})
        runs = {(self.title, self.title): [run]}
        table, any_protocol = Table("run", self.title, {}), PROTOCOLS["small"]
        drawn = {
            "jacobian": all_stages(table, runs, any_protocol), "confidence": confidences(table, runs, any_protocol),
            "smoothness": main_or_sub(table, runs, any_protocol)[2:] if "test_accuracy" in self.looks[-1] else [],
        }  # fmt: skip
        return {name: sheet(panels) for name, panels in drawn.items() if panels}


def analyse(path: Path, place: Place, network: str | None = None) -> Analysis:
    """Look at a run.

    Args:
        path: of its folder.
        place: where its data are, and the device.
        network: the run's, where that is ``module:callable``.

    Raises:
        InputError: no run, one that has neither ended nor kept looks, or data that are not there or have changed.
    """
    run = RunFolder.open(path)
    seen = run.looks()
    kept = bool(seen.looks)
    if not kept:
        if not run.finished:
            raise InputError(f"analyze: {path} has not ended and keeps no looks (alasca train --history 1 does)")
        seen = look_at_end(run, place, network)
    groups, judged_by = right_and_wrong(seen), TRUTH
    if not groups:
        groups, judged_by = by_verdict(run, seen), VERDICT
    looks = dynamics(seen, groups)
    if judged_by == VERDICT:
        for look in looks:  # the run judged by confidence, among other things: how well that ranks says nothing
            for name in ("instant", "ema"):
                look.get(name, {}).pop("auroc", None)
    last = seen.looks[max(seen.looks)]
    settings, stages = run.settings(), len(last.get("jacobian", ()))
    epochs = int(settings["recipe"]["epochs"])
    return Analysis(settings["title"], stages, judged_by, looks, kept, epochs, run.finished)


def by_verdict(run: RunFolder, seen: Seen) -> Mapping[str, Tensor]:
    """The groups of a run whose true labels nobody knows."""
    if not run.finished:
        raise InputError(f"analyze: the true labels of {run.path} are not known, and it has not ended")
    issue = torch.from_numpy(run.records().issue)[seen.samples["rows"]]
    return {"clean": ~issue, "noisy": issue}


def look_at_end(run: RunFolder, place: Place, network: str | None) -> Seen:
    """One look at what a finished run ended with."""
    described = run.settings()
    if described["from_program"]:
        raise InputError(f"analyze: {run.path} was trained on a task made in Python; train with Place(history=1)")
    typed = Recipe.from_json(described["recipe"])
    require_named(typed.network, network, str(run.path / "run.json"), f"alasca analyze {run.path} --network {{}}")
    recipe, _ = found_from(typed, Place.from_json(described["place"]), Path(described["started_in"]))
    prepared = prepare(recipe, None, place)
    if not torch.equal(prepared.split.samples.labels, run.labels()):
        raise InputError(f"analyze: the data of {run.path} have changed since it was trained")
    model = load(run.path, network)
    device = resolve_device(place.device)
    net = model.nets[0].to(device)
    looks = Looks.of(prepared.split.to(device), net, recipe.seed)
    found = looks(None, net, None)
    extra = run.records().extra
    if "ema_confidence" in extra:
        found["ema_confidence"] = torch.from_numpy(extra["ema_confidence"]).float()[looks.rows]
    return Seen(looks.samples(), {recipe.epochs - 1: found})
