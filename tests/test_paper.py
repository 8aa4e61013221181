"""The paper as runs: its numbers, its experiments as recipes, and what is said of results."""

from __future__ import annotations

import inspect
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from alasca.errors import InputError
from alasca.methods import WRAPPER, all_options, load, method_class, method_of
from alasca.paper.catalogue import ALL, cells_of, id_of, tables_of
from alasca.paper.draw import warmup_of
from alasca.paper.drawings import DRAWINGS
from alasca.paper.experiments import CE, SCE
from alasca.paper.numbers import Printed, printed
from alasca.paper.protocols import PROTOCOLS, realised_rate
from alasca.paper.reading_choice import compare, verdict
from alasca.paper.readings import PAIRS, READINGS
from alasca.paper.results import Measured, difference, gain, measured, told
from alasca.paper.show import grids, put_page
from alasca.paper.tables import TABLE4, TABLE6, TABLE9, TABLES

PAPER = PROTOCOLS["paper"]

# ------------------------------------------------------------------------------------------------ the paper's numbers

COPIED = {
    "Standard": (81.9, 74.1, 53.8, 80.1, 48.2, 37.4, 18.1, 42.7),
    "ALASCA": (90.9, 86.2, 72.7, 91.2, 67.2, 56.8, 31.0, 65.1),
    "GCE": (87.1, 82.5, 64.1, 76.7, 61.8, 53.2, 29.2, 47.2),
    "GCE + ALASCA": (90.4, 87.0, 76.2, 88.5, 67.7, 60.5, 32.2, 57.3),
    "SCE": (87.1, 82.8, 68.1, 82.5, 62.3, 54.8, 25.9, 48.4),
    "SCE + ALASCA": (91.0, 87.0, 75.4, 87.5, 69.6, 60.9, 35.1, 59.2),
    "ELR": (89.2, 86.1, 73.9, 90.1, 68.3, 59.3, 29.8, 73.3),
    "ELR + ALASCA": (91.1, 88.0, 77.2, 91.3, 69.7, 62.6, 34.3, 73.6),
}
"""Table 4, copied a second time by somebody else."""


def test_table_4_was_copied_twice_alike():
    found = printed("table4")
    for row, values in COPIED.items():
        assert tuple(found[row, column].mean for column in TABLE4.columns) == values
    assert found["Standard", "cifar10/sym80"] == Printed(53.8, 1.0, "Liu et al. (2020)")
    assert found["ALASCA", "cifar10/sym80"].quoted is None


@pytest.mark.parametrize("name", TABLES)
def test_every_printed_number_has_a_cell_and_every_cell_of_the_paper_a_number(name: str):
    numbers, table = printed(name), ALL[name]
    extra = {key for key in table.cells if key not in numbers}
    ours = ("rest", "plain", "Plain")
    assert all(any(word in row for word in ours) or column == "eager" for row, column in extra)
    assert {key for key in numbers if key not in table.cells} == (
        {(row, column) for row in table.rows for column in ("memory", "time")} if name == "table7" else set()
    )


def test_what_is_unreadable_is_shown_as_such():
    assert printed("table5")["Co-teaching", "cifar100/sym40"].mean is None
    assert printed("table6")["DivideMix, last", "cifar10/sym20"].mean is None
    assert printed("table7")["LSR", "cifar10/sym40"].mean is None


# ------------------------------------------------------------------------------------------------- experiments, recipes


def test_the_paper_trains_as_section_d_1_2_says():
    recipe = PAPER.recipe(TABLE4.cells["ALASCA", "cifar10/sym60"], 3)
    told = (recipe.network, recipe.epochs, recipe.batch_size, recipe.lr, recipe.momentum, recipe.weight_decay)
    assert told == ("resnet34", 120, 128, 0.02, 0.9, 5e-4)
    assert (recipe.schedule, recipe.milestones, recipe.lr_decay, recipe.val_fraction) == ("step", (40, 80), 0.01, 0.1)
    assert (recipe.noise, recipe.precision, recipe.seed, recipe.method) == ("symmetric:0.6", "bf16", 3, "ce")
    assert recipe.options == {"alasca.predict": "main"}
    outer = method_of(recipe)
    assert (outer.aux_weight, outer.smoothing.momentum, outer.smoothing.temperature, outer.smoothing.warmup) == (
        2,
        0.7,
        3,
        20,
    )


def part_of_alasca(momentum: float, temperature: float, warmup: int | None) -> dict:
    return {"alasca.momentum": momentum, "alasca.temperature": temperature, "alasca.warmup": warmup}


@pytest.mark.parametrize(
    ("table", "row", "column", "expected_options"),
    [
        ("table4", "ELR", "cifar10/sym60", {"lam": 3.0, "beta": 0.7}),
        ("table4", "ELR + ALASCA", "cifar10/asym40", {"lam": 1.0, "beta": 0.9}),
        ("table4", "ELR", "cifar100/sym60", {"lam": 7.0, "beta": 0.9}),
        ("table4", "SCE", "cifar10/sym60", {"alpha": 0.1, "beta": 1.0}),
        ("table4", "SCE", "cifar100/sym60", {"alpha": 6.0, "beta": 0.1}),
        ("table4", "GCE", "cifar100/sym60", {"q": 0.7}),
        ("table5", "Co-teaching", "cifar10/sym60", {"noise_rate": 0.54, "ramp": 30, "warmup": 0}),
        ("table5", "A-Coteaching", "cifar10/asym40", {"noise_rate": 0.184, "ramp": 30}),
        ("table5", "CRUST", "cifar10/sym60", {"fraction": 0.5}),
        ("table6", "DivideMix, last", "cifar10/sym90", {"lambda_u": 50.0, "threshold": 0.6, "warmup": 10}),
        ("table6", "DivideMix, last", "cifar10/sym20", {"lambda_u": 0.0}),
        ("table6", "ELR+, last", "cifar100/sym50", {"lam": 7.0, "ramp_steps": 40000, "reweight": True}),
        ("table7", "LSR", "cifar10/sym40", {"alpha": 0.5}),
        ("table7", "CDR", "cifar100/inst40", {"noise_rate": 0.4}),
        ("table8", "CRUST", "cifar10/S1", {"fraction": 0.3}),
        ("table8", "Co-teaching", "cifar10/S2", {"ramp": 20}),
        ("table8", "ELR + ALASCA", "cifar10/S3", {"lam": 7.0, "beta": 0.9}),
        ("table9", "ALS (S)", "cifar10/sym60", part_of_alasca(0.0, 1.0, None)),
        ("table9", "+ EMAC", "cifar10/sym60", part_of_alasca(0.7, 3.0, None)),
        ("table9", "+ LCA", "cifar10/sym60", part_of_alasca(0.0, 1.0, 20)),
        ("table9", "ALASCA", "cifar10/sym60", part_of_alasca(0.7, 3.0, 20)),
    ],
)
def test_options_are_the_published_ones(table: str, row: str, column: str, expected_options: dict):
    recipe = PAPER.recipe(ALL[table].cells[row, column], 0)
    found = {**defaults(method_class(recipe.method)), **all_options(recipe)}
    found |= {f"alasca.{k}": v for k, v in defaults(load(WRAPPER)).items() if f"alasca.{k}" not in found}
    for name, value in expected_options.items():
        assert found[name] == value, name


def defaults(cls: type) -> dict:
    return {name: each.default for name, each in inspect.signature(cls).parameters.items()}


def test_networks_and_settings_of_table_8():
    cells = ALL["table8"].cells
    networks = {row: PAPER.recipe(cells[row, "cifar10/S1"], 0).network for row in ALL["table8"].rows}
    assert networks["CRUST"] == networks["CRUST + ALASCA"] == "wrn28-4"
    assert (networks["Standard"], networks["Co-teaching"], networks["ELR"]) == (
        "vgg19-bn",
        "resnet32",
        "preact-resnet18",
    )
    decays = [PAPER.recipe(cells["ALASCA", f"cifar10/S{k}"], 0).weight_decay for k in (1, 2, 3)]
    assert decays == [1e-4, 5e-4, 1e-3]
    noises = {row: PAPER.recipe(cells[row, "cifar10/S1"], 0).noise for row in ALL["table8"].rows}
    assert noises["CRUST"] == "symmetric:0.2"
    assert noises["ELR"] == "asymmetric:0.4:sequential"


def test_semi_supervised_methods_train_as_their_own_code_does():
    mix, plus = (PAPER.recipe(TABLE6.cells[f"{name}, last", "cifar100/sym50"], 0) for name in ("DivideMix", "A-ELR+"))
    assert (mix.network, mix.epochs, mix.milestones, mix.batch_size, mix.val_fraction) == (
        "preact-resnet18",
        300,
        (150,),
        64,
        0.0,
    )
    assert (plus.epochs, plus.milestones, plus.batch_size, plus.lr_decay) == (250, (200,), 128, 0.1)
    cloth = PAPER.recipe(ALL["table3"].cells["ELR+", "clothing1m"], 0)
    assert (cloth.epochs, cloth.milestones, cloth.epoch_samples, cloth.preset) == (15, (7,), 192_000, "clothing1m")
    assert cloth.lr_decay == 0.1
    assert PAPER.recipe(ALL["table3"].cells["A-ELR+", "clothing1m"], 0).lr_decay == 0.01
    assert PAPER.recipe(TABLE6.cells["ELR+, last", "cifar10/sym50"], 0).options["decay_steps"] == 40_000


def test_noise_is_that_of_the_published_numbers():
    assert PAPER.recipe(CE.on("cifar100/asym40"), 0).noise == "asymmetric:0.4:id_block"
    assert PAPER.recipe(CE.on("cifar10/inst40"), 0).noise == "instance:0.4"
    assert realised_rate("symmetric:0.8", 100) == 0.792


def test_shorter_protocols_shrink_what_counts_epochs():
    small = PROTOCOLS["small"]
    ramp = small.recipe(PAIRS["ALASCA"][1]["alpha phases in: r gamma + 1 - r, r 0.1 to 0.7"], 0)
    assert ramp.options["alasca.ramp"] == ("mix", 0.1, 0.7, 10.0)
    assert method_of(ramp).smoothing.warmup == 3
    assert small.recipe(ALL["table8"].cells["Co-teaching", "cifar10/S2"], 0).options["ramp"] == 3
    # 2,250 pictures are 36 steps of 64; two fifths of 20 epochs of them
    assert small.recipe(TABLE6.cells["ELR+, last", "cifar100/sym50"], 0).options["ramp_steps"] == 288
    long = PAPER.recipe(PAIRS["A-DivideMix"][1]["alpha phases in, r 0.1 to 0.9"], 0)
    assert (long.epochs, long.options["alasca.ramp"][-1], long.val_fraction) == (300, 150.0, 0.1)
    assert PAPER.recipe(PAIRS["ALASCA"][1]["w_EMA follows alpha, 0.1 to 0.7"], 0).options["alasca.momentum"] == (
        0.1,
        0.7,
        60.0,
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_recipe_is_one(protocol: str):
    for table in ALL.values():
        for each in table.cells.values():
            method_of(PROTOCOLS[protocol].recipe(each, 0))


# ------------------------------------------------------------------------------------------------------------- cells


def test_one_run_serves_every_table_that_asks_for_it():
    ours = {cell.id for name in ("table2", "table4", "table7", "table9") for cell in cells_of([ALL[name]], PAPER, 1) if
            cell.name == "cifar10/sym60/alasca"}  # fmt: skip
    assert len(ours) == 1
    assert len(cells_of(tables_of(["table4", "table9"]), PAPER, 1)) == 64 + 12
    recipe = PAPER.recipe(CE, 0)
    assert id_of(recipe, eager=True) != id_of(recipe) == recipe.digest()[:20]


def test_time_and_memory_have_eager_runs_of_their_own():
    names = [cell.name for cell in cells_of([ALL["table7"]], PAPER, 3) if cell.experiment.eager]
    assert len(names) == 6
    assert "cifar10/sym40/har,eager" in names
    assert not any(cell.experiment.eager for cell in cells_of([ALL["table7"]], PROTOCOLS["small"], 1))
    outcomes = {}
    for row, seconds in (("Standard", 100.0), ("HAR", 340.0)):
        each = ALL["table7"].cells[row, "eager"]
        one = {**fake(0, last=80.0), "peak_bytes": 5 * seconds, "seconds": seconds}
        outcomes[id_of(PAPER.recipe(each, 0), eager=True)] = one
    rows = {row[0]: row[1:] for row in grids(ALL["table7"], PAPER, outcomes)[2].rows}
    assert rows["HAR"] == ["3.40 / 2.0", "3.40 / 5.2", "- / 5.2"]
    assert rows["ALASCA"] == ["- / 1.1", "- / 1.2", "- / 1.2"]
    elsewhere = id_of(PAPER.recipe(ALL["table7"].cells["HAR", "eager"], 0), eager=True)
    outcomes[elsewhere] = {**outcomes[elsewhere], "machine": {"device": "NVIDIA H100"}}
    rows = {row[0]: row[1:] for row in grids(ALL["table7"], PAPER, outcomes)[2].rows}
    assert rows["HAR"][0] == "- / 2.0"  # another kind of device is no measure


def test_runs_that_figures_need_keep_looks_whatever_table_asks_for_them():
    looks = {cell.name: cell.looks for cell in cells_of([TABLE4], PAPER, 2)}
    assert looks["cifar10/sym60/alasca"]
    assert looks["cifar10/sym60/standard"]
    assert not looks["cifar10/sym60/elr"]


def test_what_a_table_needs_most_comes_first():
    names = [(cell.name, cell.seed) for cell in cells_of([TABLE4], PAPER, 2)]
    first = [
        f"cifar10/{noise}/{row}" for noise in ("sym60", "sym40", "sym80", "asym40") for row in ("standard", "alasca")
    ]
    assert [name for name, _ in names[:8]] == first
    assert names[8:10] == [("cifar10/sym60/elr", 0), ("cifar10/sym60/elr+alasca", 0)]
    assert [seed for _, seed in names] == [0] * 64 + [1] * 64
    both = cells_of([TABLE9, TABLE4], PAPER, 2)  # the first seed of the last table before the second of the first
    assert [cell.seed for cell in both] == sorted(cell.seed for cell in both)
    assert "cifar10/sym60/als-(s)" in [cell.name for cell in both[:16]]


def test_patterns_name_cells():
    found = cells_of([TABLE4], PAPER, 1, "cifar10/sym60/*alasca")
    assert [cell.name.rpartition("/")[2] for cell in found] == ["alasca", "elr+alasca", "gce+alasca", "sce+alasca"]
    with pytest.raises(InputError, match=r"'cifar11/\*' fits no whole name in table4; "):
        cells_of([TABLE4], PAPER, 1, "cifar11/*")
    with pytest.raises(InputError, match="did you mean 'table4'"):
        tables_of(["tabel4"])


# ----------------------------------------------------------------------------------------------------------- results


def fake(seed: int, held: float = 50.0, **test: float) -> dict:
    figures = {"val_accuracy_main_last": held, **{f"test_accuracy_{name}": value for name, value in test.items()}}
    machine = {"device": "cpu"}
    return {
        "recipe": {"seed": seed}, "figures": figures, "failed": None, "noise_rate": 0.54, "machine": machine,
        "eager_because": None,
    }  # fmt: skip


def fakes(protocol, each, held: list[float], test: list[float]) -> dict:
    return {
        id_of(protocol.recipe(each, k)): fake(k, v, main_last=t)
        for k, (v, t) in enumerate(zip(held, test, strict=True))
    }


def test_the_difference_to_the_paper_counts_its_spread_and_its_five_trials():
    # (86.4 - 85.2) / sqrt(0.4^2 / 4 + 0.5^2 / 5) = 1.2 / 0.3
    values = [86.4 - 0.3464102, 86.4 + 0.3464102, 86.4 - 0.3464102, 86.4 + 0.3464102]
    assert difference(values, Printed(85.2, 0.5)) == "+1.2 (+4.0 SE)"
    assert difference(values[:2], Printed(85.2, 0.5)) == "+1.2"  # two seeds have no error
    assert difference(values, Printed(85.2)) == "+1.2"  # and the paper prints no spread
    assert told(values[:2]) == "86.4 ± 0.5 (2)"


def test_gains_are_paired_by_seed():
    bare = Measured((fake(0, main_last=70.0), fake(1, main_last=80.0), fake(2, main_last=60.0)))
    inside = Measured(
        (fake(2, main_last=64.0), fake(0, main_last=72.0), fake(1, main_last=83.0), fake(7, main_last=1.0))
    )
    mean, error, pairs = gain(inside, bare)
    assert (mean, pairs) == (3.0, 3)
    assert error == pytest.approx(1 / 3**0.5)


def test_the_main_classifier_alone_stands_in_the_papers_place():
    outcomes = {}
    for (row, column), each in TABLE9.cells.items():
        if column == "cifar10/sym60":
            for seed in range(3):
                base = {"ALASCA": 86.0}.get(row, 80.0) + seed
                outcomes[id_of(PAPER.recipe(each, seed))] = fake(
                    seed, main_last=base, last=99.0, average_last=90.0, all_last=91.0, main_chosen=85.0,
                    main_last20=84.0, main_best=97.0,
                )  # fmt: skip
    text = "".join(grid.markdown() for grid in grids(TABLE9, PAPER, outcomes))
    assert "**87.0 ± 1.0 (3)** / 86.2" in text
    assert "97.0" not in text.replace("97.0 ±", "97.0")  # the best epoch on the test set is nowhere
    assert "90.0 ± 0.0" in text
    assert "91.0 ± 0.0" in text
    two = {name: one for name, one in outcomes.items() if one["recipe"]["seed"] < 2}
    assert "**8" not in "".join(grid.markdown() for grid in grids(TABLE9, PAPER, two))


def test_best_epochs_stand_only_in_rows_that_are_called_so():
    each = TABLE6.cells["DivideMix, best", "cifar10/sym80"]
    outcomes = {id_of(PAPER.recipe(each, 0)): fake(0, last=92.0, best=93.5)}
    rows = {row[0]: row for grid in grids(TABLE6, PAPER, outcomes)[:1] for row in grid.rows}
    at = grids(TABLE6, PAPER, outcomes)[0].heads.index("sym80")
    assert rows["DivideMix, best"][at] == "93.5 (1) / 93.2°"
    assert rows["DivideMix, last"][at] == "92.0 (1) / 92.9°"
    assert rows["A-DivideMix, last"][at] == "- / 93.4"


def test_smaller_protocols_stand_beside_no_number_of_the_paper():
    small = PROTOCOLS["small"]
    outcomes = fakes(small, TABLE4.cells["ALASCA", "cifar10/sym60"], [50.0] * 3, [40.0, 41.0, 42.0])
    outcomes |= fakes(small, TABLE4.cells["Standard", "cifar10/sym60"], [50.0] * 3, [38.0, 38.0, 38.0])
    text = "".join(grid.markdown() for grid in grids(TABLE4, small, outcomes))
    assert "86.2" not in text
    assert "+3.0 ± 0.6" in text
    assert "+12.1" in text  # what ALASCA adds in the paper, called so
    assert measured(PAPER, TABLE4.cells["ALASCA", "cifar10/sym60"], outcomes).outcomes == ()


def test_readings_are_chosen_on_held_out_noisy_labels_alone():
    small, (default, others) = PROTOCOLS["small"], PAIRS["ALASCA"]
    base = fakes(small, default, [26.0, 27.0, 28.0], [44.0] * 3)
    worse = fakes(small, others["weight decay 1e-3"], [26.1, 26.9, 28.2], [99.0] * 3)
    assert verdict(small, base | worse).startswith("None of 1 readings is better")
    better = fakes(small, others["weight decay 1e-3"], [28.0, 29.1, 29.9], [1.0] * 3)
    assert "these are better" in verdict(small, base | better)
    assert "ALASCA: weight decay 1e-3" in verdict(small, base | better)
    (one,) = compare(small, base | better)["ALASCA"]
    assert one.mean == pytest.approx(2.0)
    # t = 2 / (0.1 / sqrt 3) = 34.6 with 2 degrees of freedom
    assert one.p == pytest.approx(0.000416, abs=2e-6)
    two = fakes(small, others["weight decay 1e-3"], [28.0, 29.1], [1.0] * 2)
    (one,) = compare(small, base | two)["ALASCA"]
    assert (one.mean, one.p, one.error) == (pytest.approx(2.05), None, None)  # two seeds say nothing
    many = {}
    for k, each in enumerate(others.values()):  # of many readings, one is near by chance
        many |= fakes(small, each, [26.5 + k, 27.2 + k, 28.5 + k] if k == 0 else [26.1, 26.9, 28.2], [50.0] * 3)
    assert "None of 10 readings" in verdict(small, base | many)
    assert verdict(small, {}) == "No reading has been run with 3 seeds yet."
    assert "28.0 ± 1.0 (3)" in "".join(grid.markdown() for grid in grids(READINGS, small, base | fakes(
        small, SCE.wrapped(), [27.0, 28.0, 29.0], [40.0] * 3)))  # fmt: skip


def test_what_diverged_is_called_so_everywhere_and_is_never_best():
    outcomes = fakes(PAPER, TABLE9.cells["ALASCA", "cifar10/sym60"], [50.0] * 3, [99.0] * 3)
    for row in ("ALS (S)", "+ EMAC", "+ LCA"):
        outcomes |= fakes(PAPER, TABLE9.cells[row, "cifar10/sym60"], [50.0] * 3, [80.0] * 3)
    gone = id_of(PAPER.recipe(TABLE9.cells["ALASCA", "cifar10/sym60"], 2))
    outcomes[gone] = {**outcomes[gone], "failed": "the loss is not finite", "figures": {}}
    text = "".join(grid.markdown() for grid in grids(TABLE9, PAPER, outcomes))
    assert text.count("1 of 3 diverged") == 2
    assert "**99" not in text
    assert verdict(PAPER, outcomes) == "No reading has been run with 3 seeds yet."


def test_a_page_of_somebody_elses_is_not_written_to(tmp_path: Path):
    page = tmp_path / "mine.md"
    page.write_text("# Mine\n")
    with pytest.raises(InputError, match="0 places for small, expected one"):
        put_page(page, "small", "text")
    assert page.read_text() == "# Mine\n"
    put_page(tmp_path / "new.md", "small", "text\n")
    put_page(tmp_path / "new.md", "small", "other\n")
    assert (tmp_path / "new.md").read_text().count("other") == 1


def test_targets_are_drawn_when_correction_begins():
    for protocol, epoch in ((PAPER, 20), (PROTOCOLS["small"], 3)):
        recipe = protocol.recipe(ALL["figure4"].cells["ALASCA", "cifar10/sym60"], 0)
        assert warmup_of({"recipe": recipe.as_json()}) == epoch


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawings_are_whole(name: str):
    assert ET.fromstring(DRAWINGS[name]()).tag.endswith("svg")
