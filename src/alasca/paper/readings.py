"""What the paper leaves open, each reading as an experiment of its own beside the one that is in force."""

from __future__ import annotations

from alasca.paper.experiments import ALASCA, ALS, DIVIDEMIX, ELR_PLUS, SCE, Experiment, Table
from alasca.paper.tables import ABLATION

HALF = 60.0
"""Epochs of half of a run of 120."""
PLAIN = ABLATION["ALS (S)"]
HELD = [each.wrapped().using(val_fraction=0.1) for each in (DIVIDEMIX, ELR_PLUS)]
"""With held-out labels to choose by, which table 6 does without."""
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
            "kaiming-normal initialisation of the network": ALASCA.using("resnet34-kaiming"),
            "float32": ALASCA.using(precision="float32"),
        },
    ),
    "SCE + ALASCA": (
        SCE.wrapped(),
        {"(alpha, beta) = (1.0, 0.4)": SCE.having(alpha=1.0, beta=0.4).wrapped()},
    ),
    "SCE + ALASCA, CIFAR-100": (
        SCE.on("cifar100/sym60").wrapped(),
        {"(alpha, beta) = (1.0, 0.4)": SCE.on("cifar100/sym60").having(alpha=1.0, beta=0.4).wrapped()},
    ),
    "ALS (S)": (PLAIN, {"each sub-classifier's own confidence": PLAIN.wrapped(confidence_from="own")}),
    "ALS (M)": (ALS, {"eq. 2 to the letter: Omega not divided by K": ALS.having(scale="sum")}),
    "A-DivideMix": (HELD[0], {"alpha phases in, r 0.1 to 0.9": HELD[0].wrapped(ramp=("mix", 0.1, 0.9, HALF))}),
    "A-ELR+": (HELD[1], {"alpha phases in, r 0.1 to 0.9": HELD[1].wrapped(ramp=("mix", 0.1, 0.9, HALF))}),
}
"""By what they are readings of: the one in force, and the others."""


def cells() -> dict[tuple[str, str], Experiment]:
    """All readings, those in force too."""
    found = {}
    for name, (default, others) in PAIRS.items():
        found[f"{name}: in force", default.place] = default
        for reading, each in others.items():
            found[f"{name}: {reading}", each.place] = each
    return found


READINGS = Table(
    "readings", "What the paper leaves open, read one way and another",
    cells(),
    notes=(
        "A reading would take the place of the one in force where its accuracy on held-out noisy labels is higher, by "
        "a paired t-test over seeds, 5% for all readings together. Test figures were not looked at for that.",
    ),
)  # fmt: skip
