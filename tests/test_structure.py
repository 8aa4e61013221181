"""The house: imports run one way, nothing can execute what it reads, files stay small, public names are documented."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "alasca"
FILES = sorted(ROOT.rglob("*.py"))

LAYERS = [
    {"cli", "testing"},
    {"estimator", "criterion", "integrations", "paper"},
    {"training"},
    {"audit", "engine", "export", "repair"},
    {"runs"},
    {"data", "networks", "methods"},
    {"sample_selection", "checkpoint"},
    {"surgery", "stores"},
    {"distributed"},
    {"core"},
    {"published_recipes"},
    {"recipe", "functional"},
    {"files"},
    {"values", "terminal"},
    {"errors"},
]
"""Rooms from top to bottom: a room imports from lower layers only, never from its own."""


def room(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def level(name: str) -> int:
    return next(k for k, rooms in enumerate(LAYERS) if name in rooms)


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path):
    here = room(path)
    if here == "__init__":
        return
    for name in imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] != "alasca" or len(parts) < 2 or parts[1] == "__version__":
            continue
        there = parts[1]
        if there != here:
            assert level(here) < level(there), f"{here} must not import {there}"
        elif here == "methods" and path.name != "registry.py" and path.parent == ROOT / "methods":
            assert path.name == "__init__.py", f"method {path.name} imports another method"
        elif here == "methods" and path.parent != ROOT / "methods":
            assert parts[2] == path.parent.name, f"method {path.parent.name} imports another method"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_can_execute_what_it_reads(path: Path):
    tree = ast.parse(path.read_text())
    legacy = path.relative_to(ROOT).as_posix() == "data/legacy.py"  # published files; its own tests plant payloads
    for name in imports(tree):
        assert (legacy and name == "pickle") or name.split(".")[0] not in (
            "pickle",
            "dill",
            "cloudpickle",
            "joblib",
            "shelve",
            "marshal",
            "yaml",
        ), name
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            assert call not in ("eval", "exec", "compile", "torch.load", "np.load", "numpy.load") or (
                (call == "np.load" and "allow_pickle=False" in ast.unparse(node))
                or (legacy and call == "torch.load" and "weights_only=True" in ast.unparse(node))
            ), f"{path.name}:{node.lineno}: {call}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_stay_small(path: Path):
    text = path.read_text()
    assert text.count("\n") <= 350, "what are the two things in this file?"
    if "methods" in path.parts and path.name not in ("__init__.py", "registry.py") and path.parent == ROOT / "methods":
        assert text.count("\n") - words_and_imports(text) <= 120, "a method reads like an algorithm box"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 80, f"{node.name} is too long"


def words_and_imports(text: str) -> int:
    """Lines of docstrings and imports."""
    nodes = list(ast.walk(ast.parse(text)))
    bodies = [n.body[0] for n in nodes if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef)) and n.body]
    words = [first for first in bodies if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)]
    imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    return sum((node.end_lineno or 0) - node.lineno + 1 for node in words + imports)


def test_median_file_is_short():
    lengths = sorted(path.read_text().count("\n") for path in FILES)
    assert lengths[len(lengths) // 2] < 150


def test_public_names_are_there_and_documented():
    import alasca

    for name in alasca.__all__:
        assert getattr(alasca, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = alasca.nothing


def test_functional_knows_shapes():
    """Annotations of shapes hold on real calls: checked by beartype in a process of its own."""
    import subprocess
    import sys

    code = (
        "from jaxtyping import install_import_hook\n"
        "with install_import_hook('alasca.functional', 'beartype.beartype'):\n"
        "    import alasca.functional as AF\n"
        "import torch, jaxtyping\n"
        "z, y = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])\n"
        "for loss in (AF.cross_entropy, AF.als): assert loss(z, y).shape == (4,)\n"
        "assert AF.smoothed_cross_entropy(torch.stack([z, z]), y, torch.rand(4)).shape == (2, 4)\n"
        "assert AF.smoothed_cross_entropy(torch.stack([z, z]), y, torch.rand(2, 4)).shape == (2, 4)\n"
        "assert AF.soft_cross_entropy(z, z.softmax(1)).shape == AF.smoothness(z).shape == (4,)\n"
        "assert AF.confidence(z, y).shape == AF.agreed_labels(y, z, (z,)).shape == (4,)\n"
        "AF.label_smoothing(z, y, 0.1), AF.symmetric_noise(y, 0.5, 3), AF.pair_noise(y, 0.5, 3)\n"
        "AF.asymmetric_noise(y, 0.5, {0: 1}), AF.matrix_noise(y, torch.eye(3)), AF.instance_noise(z, y, 0.5, 3)\n"
        "AF.instance_noise(torch.zeros(4, 1, 2, 2), y, 0.5, 3, True), AF.transition_counts(y, y, 3)\n"
        "assert AF.majority_vote(torch.stack([y, y], 1), 3).shape == (4,)\n"
        "for loss in (AF.mae, AF.rce, AF.gce, AF.truncated_gce, AF.nce, AF.normalized_focal, AF.tf_kd):\n"
        "    assert loss(z, y).shape == (4,)\n"
        "AF.nce_agce(z, y, 1., 4., 6., 1.5), AF.nce_aul(z, y, 1., 4., 6.3, 1.5), AF.nce_ael(z, y, 1., 4., 5.)\n"
        "AF.sce(z, y, 1., 1.)\n"
        "AF.nce_rce(z, y, 1., 1.), AF.nce_mae(z, y, 1., 1.), AF.bootstrapping(z, y, 0.8), AF.distillation(z, z, 2.)\n"
        "AF.elr_regularizer(z, z.softmax(1)), AF.jensen_shannon([z, z], y, (0.2, 0.4, 0.4))\n"
        "try: AF.cross_entropy(z, y[:, None])\n"
        "except jaxtyping.TypeCheckError: print('checked')\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "checked", found.stderr


def test_only_the_registry_names_methods():
    """Nothing else under src/ imports a method's module, but for ALASCA's objective, which `AlascaLoss` shares."""
    allowed = {"methods/registry.py", "__init__.py"}
    for path in FILES:
        here = path.relative_to(ROOT).as_posix()
        if here in allowed or here.startswith("methods/"):
            continue
        for name in imports(ast.parse(path.read_text())):
            parts = name.split(".")
            if parts[:2] == ["alasca", "methods"] and len(parts) > 3:
                assert here == "criterion.py", f"{here} imports {name}"
                assert parts[2:] in (["alasca", each] for each in ("AuxiliaryObjective", "Smoothing", "takes")), name


def test_tests_and_benchmarks_touch_no_private_name_of_the_engine():
    """Names that begin with an underscore, on anything that the engine's own files define as private."""
    private = {
        node.name
        for path in (ROOT / "engine").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("_") and not node.name.startswith("__")
    }
    assert private
    for folder in ("tests", "benchmarks", "src/alasca/testing"):
        for path in sorted((ROOT.parent.parent / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute):
                    assert node.attr not in private, f"{path.name}:{node.lineno}: {node.attr}"


def test_settings_are_written_once():
    """No other class or function under src/ repeats three or more of the fields of `Recipe` or `Place` as defaults."""
    from alasca.recipe import Place, Recipe

    fields = {name for owner in (Recipe, Place) for name in owner.__dataclass_fields__}
    for path in FILES:
        if path.name in ("recipe.py", "published_recipes.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                own = {
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and item.value is not None
                }
                known = {
                    "shift",
                    "flip",
                    "crop",
                    "epoch_samples",
                    "momentum",
                }  # of tasks, transforms, ALASCA's averages
                assert len((own & fields) - known) < 3, f"{path.name}: {node.name} repeats {sorted(own & fields)}"


def test_every_mutant_changes_a_line_that_is_there_once():
    found = runpy.run_path(str(ROOT.parent.parent / "benchmarks" / "mutant_list.py"))
    texts = {file: (ROOT / file).read_text() for file in found["MUTANTS"]}
    stale = [(file, before) for file, pairs in found["MUTANTS"].items() for before, _ in pairs
             if texts[file].count(before) != 1]  # fmt: skip
    assert stale == []
