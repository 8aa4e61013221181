"""The paper's figures: the runs that they are drawn from, and how they are drawn."""

from __future__ import annotations

from alasca.paper.experiments import ALASCA, ALS, CE, COTEACHING, DIVIDEMIX, LSR, Table, grid
from alasca.paper.tables import ABLATION, TABLE4, TABLE5, TABLE6

SYM60, SYM80 = ("cifar10/sym60",), ("cifar10/sym80",)
FACTORS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Of label smoothing; the paper's text names 0.3 only."""
SMOOTHED = {
    "CE": CE.looking(), **{f"LS ({factor})": LSR.having(alpha=factor).looking() for factor in FACTORS},
    "ALS": ALS.looking(),
}  # fmt: skip
PLACES = {"CE": CE.looking(), "ALS (M)": ALS.looking(), "ALS (S)": ABLATION["ALS (S)"].looking(),
          "ALASCA": ALASCA.looking()}  # fmt: skip

FIGURES = {
    each.name: each
    for each in (
        Table("figure1", "Jacobian norms and accuracy under label smoothing", grid(SMOOTHED, SYM60), ("CE", "ALS")),
        Table("figure2", "Adaptive smoothing of the main classifier (M), of sub-classifiers (S)", grid(PLACES, SYM60)),
        Table("figure3", "Confidence of one visit, and averaged", grid({"ALASCA": ALASCA.looking()}, SYM80)),
        Table("figure4", "Targets with and without agreement", grid({"ALASCA": ALASCA.looking()}, SYM60)),
        Table("figure5", "What ALASCA adds to each method", {**TABLE4.cells, **TABLE5.cells, **TABLE6.cells}),
        Table("figure6", "Figure 1, all stages", grid(SMOOTHED, SYM60)),
        Table("figure7", "Figure 2, all stages", grid(PLACES, SYM60)),
        Table(
            "figure9", "Figure 3, other noise",
            grid({"ALASCA": ALASCA.looking()}, ("cifar10/sym40", "cifar10/sym60", "cifar10/sym80", "cifar10/asym40")),
        ),
        Table(
            "figure10", "How well samples are chosen",
            grid({"Co-teaching": COTEACHING, "A-Coteaching": COTEACHING.wrapped()}, SYM80)
            | grid({"DivideMix": DIVIDEMIX, "A-DivideMix": DIVIDEMIX.wrapped()}, ("cifar10/sym90",)),
        ),
    )
}  # fmt: skip
"""By name. Figures 1a and 8 are drawings, made without any run."""
