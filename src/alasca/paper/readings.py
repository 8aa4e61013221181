"""What the paper leaves open, each reading as an experiment of its own beside the one that is in force."""

from __future__ import annotations

from alasca.paper.experiments import ALASCA, ALS, DIVIDEMIX, SCE, Experiment, Table

HALF = 60.0
"""Epochs of half of a run of 120."""
PAIRS: dict[str, tuple[Experiment, dict[str, Experiment]]] = {
    "ALASCA": (
        ALASCA,
        {
            "1 - gamma over the other classes": ALASCA.wrapped(off_target="others"),
            "alpha phases in: r gamma + 1 - r, r 0.1 to 0.7": ALASCA.wrapped(ramp=("mix", 0.1, 0.7, HALF)),
            "alpha phases in, r 0 to 1 in 30 epochs": ALASCA.wrapped(ramp=("mix", 0.0, 1.0, 30.0)),
            "alpha is a ceiling of gamma, 0.1 to 0.7": ALASCA.wrapped(ramp=("cap", 0.1, 0.7, HALF)),
            "w_EMA follows alpha, 0.1 to 0.7": ALASCA.wrapped(momentum=(0.1, 0.7, HALF)),
            "a head after the last stage too": ALASCA.wrapped(at="every stage"),
            "all sub-classifiers must agree": ALASCA.wrapped(agreement="all"),
            "weight decay 1e-3": ALASCA.using(weight_decay=1e-3),
            "kaiming-normal initialisation": ALASCA.using("resnet34-kaiming"),
            "float32": ALASCA.using(precision="float32"),
        },
    ),
    "SCE + ALASCA": (
        SCE.wrapped(),
        {"(alpha, beta) = (1.0, 0.4)": SCE.having(alpha=1.0, beta=0.4).wrapped()},
    ),
    "ALS (M)": (ALS, {"eq. 2 to the letter: Omega not divided by K": ALS.having(scale="sum")}),
    "A-DivideMix": (
        DIVIDEMIX.wrapped(),
        {"alpha phases in, r 0.1 to 0.9": DIVIDEMIX.wrapped(ramp=("mix", 0.1, 0.9, HALF))},
    ),
}
"""By what they are readings of: the one in force, and the others."""


def cells(place: str) -> dict[tuple[str, str], Experiment]:
    """All readings on some data, those in force too."""
    found = {}
    for name, (default, others) in PAIRS.items():
        found[f"{name}: in force", place] = default.on(place)
        for reading, each in others.items():
            found[f"{name}: {reading}", place] = each.on(place)
    return found


READINGS = Table(
    "readings", "What the paper leaves open, read one way and another",
    {**cells("cifar10/sym60")},
    notes=(
        "A reading would take the place of the one in force where its accuracy on held-out noisy labels is higher, by "
        "a paired t-test over seeds, 5% for all readings together. Test figures were not looked at for that.",
    ),
)  # fmt: skip
