"""Lines that define the methods and the loop, changed one at a time: the tests must notice each.

    python benchmarks/mutants.py                     # all: curated ones, options, hooks, and 50 drawn at random
    python benchmarks/mutants.py --only elr          # those whose file or words contain it
    python benchmarks/mutants.py --random 0          # none at random

Each mutant is a copy of the tree with one line changed, on which the tests of its file run (`TESTS`). One that no test
notices fails the command, unless `EQUIVALENT` says why nothing could notice it. Prints killed / tried.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import itertools
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from mutant_list import EQUIVALENT, MUTANTS, TESTS

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "alasca"
SECONDS = 900
"""For the tests of a file without any change; with one, they get three times what they took then, and a minute."""
FRUITFUL = (
    "functional", "methods", "stores", "sample_selection.py", "engine/update.py", "engine/optimizers.py",
    "engine/schedule.py", "engine/probe.py", "engine/metrics.py", "engine/workbench.py", "data/loader.py",
    "data/pool.py", "data/balance.py", "data/split.py", "data/transform.py", "surgery/passes.py",
    "surgery/classifiers.py", "core",
)  # fmt: skip
"""Where random mutations are drawn from."""
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
}  # fmt: skip


class Mutant(NamedTuple):
    """A file under ``src/alasca``, a piece of it, and what to put there."""

    file: str
    before: str
    after: str

    def __str__(self) -> str:
        """The file and what differs, from the line where it begins."""
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(self.before, self.after, strict=False))
        begins = self.before.rfind("\n", 0, len(list(same))) + 1
        before, after = (" ".join(text[begins:].split())[:70] for text in (self.before, self.after))
        return f"{self.file}: {before!r} -> {after!r}"


def tests_of(file: str) -> list[str]:
    """Tests of a file: of the longest beginning that `TESTS` has."""
    best = max((start for start in TESTS if file.startswith(start)), key=len)
    return TESTS[best].split()


def drawn(count: int, seed: int) -> list[Mutant]:
    """Operators changed at random places."""
    places = []
    for start in FRUITFUL:
        path = SOURCE / start
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            text = file.read_text()
            tree = ast.parse(text)
            hidden = {id(part) for node in ast.walk(tree) for part in ast.walk(annotation_of(node))}
            for node in ast.walk(tree):
                if id(node) not in hidden and (after := swapped(node)) is not None:
                    before = ast.get_source_segment(text, node)
                    if before is not None and text.count(before) == 1 and not in_raise(tree, node):
                        places.append(Mutant(str(file.relative_to(SOURCE)), before, after))
    return random.Random(seed).sample(sorted(set(places)), count)


def ignored() -> list[Mutant]:
    """For every option of every method, one that has its default whatever is given; for every hook, one without it."""
    hooks = {each.name for each in functions(SOURCE / "core" / "method.py", "Method")} - {"step"}
    found = []
    for path in sorted((SOURCE / "methods").rglob("*.py")):
        file, text = str(path.relative_to(SOURCE)), path.read_text()
        for each in functions(path):
            whole = ast.get_source_segment(text, each) or ""
            if each.name in hooks:
                found.append(Mutant(file, whole, whole.replace(f"def {each.name}(", f"def no_{each.name}(", 1)))
            if each.name == "__init__" and (called := re.search(r"super\(\).__init__\((method)?\)", whole)):
                begun = whole[: called.end()]
                defaults = [ast.unparse(default) for default in each.args.defaults]
                names = [argument.arg for argument in each.args.args[-len(defaults) :]] if defaults else []
                pairs = zip(names, defaults, strict=True)
                found += [Mutant(file, begun, f"{begun}\n        {name} = {default}") for name, default in pairs]
    return found


def functions(path: Path, name: str | None = None) -> list[ast.FunctionDef]:
    """What a class of a file defines; None: each class."""
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    own = [node for each in classes if name in (None, each.name) for node in each.body]
    return [node for node in own if isinstance(node, ast.FunctionDef)]


def annotation_of(node: ast.AST) -> ast.AST:
    """The annotation of a node, or nothing."""
    return getattr(node, "annotation", None) or getattr(node, "returns", None) or ast.Pass()


def in_raise(tree: ast.AST, node: ast.AST) -> bool:
    """Whether a node is a part of an error's message."""
    return any(any(part is node for part in ast.walk(each)) for each in ast.walk(tree) if isinstance(each, ast.Raise))


def swapped(node: ast.AST) -> str | None:
    """The source of a node with its operator changed."""
    if isinstance(node, ast.BinOp) and type(node.op) in SWAPS:
        return ast.unparse(ast.BinOp(node.left, SWAPS[type(node.op)](), node.right))
    if isinstance(node, ast.BoolOp):
        return ast.unparse(ast.BoolOp(SWAPS[type(node.op)](), node.values))
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in SWAPS:
        return ast.unparse(ast.Compare(node.left, [SWAPS[type(node.ops[0])]()], node.comparators))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        return ast.unparse(node.operand)
    return None


@contextlib.contextmanager
def copies(count: int) -> Iterator[list[Path]]:
    """Copies of the tree."""
    with tempfile.TemporaryDirectory() as temporary:
        found = []
        for k in range(count):
            copy = Path(temporary) / str(k)
            skip = shutil.ignore_patterns(".git", ".venv*", "__pycache__", "*.egg-info", "dist", "build", ".*_cache")
            shutil.copytree(ROOT, copy, ignore=skip)
            found.append(copy)
        yield found


class First:
    """Runs the tests that name a word first: those most likely to notice."""

    def __init__(self, word: str) -> None:
        self.word = word

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Sort the tests."""
        items.sort(key=lambda item: (self.word not in item.nodeid, self.word not in source_of(item)))


def source_of(test: Any) -> str:
    """The lines of a test; none for one in a docstring."""
    return inspect.getsource(test.function) if hasattr(test, "function") else ""


def survives(mutant: Mutant, tree: Path, seconds: float) -> bool:
    """Whether all tests of its file pass on the changed tree, in so many seconds."""
    path = tree / "src" / "alasca" / mutant.file
    text = path.read_text()
    if text.count(mutant.before) != 1:
        raise ValueError(f"{mutant}: found {text.count(mutant.before)} times, expected once")
    path.write_text(text.replace(mutant.before, mutant.after))
    try:
        return passes(tree, tests_of(mutant.file), seconds, Path(mutant.file).stem)
    finally:
        path.write_text(text)


def passes(tree: Path, tests: list[str], seconds: float, word: str = "") -> bool:
    """Whether tests pass in a tree, those of a word first; what takes too long does not.

    Runs in a fork that has torch already.
    """
    child = os.fork()
    if not child:
        os.chdir(tree)
        os.environ["PYTHONPATH"], os.environ["PYTHONDONTWRITEBYTECODE"] = str(tree / "src"), "1"
        sys.path[:0] = [str(tree / "src"), str(tree / "tests")]
        sys.dont_write_bytecode = True
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1), os.dup2(silent, 2)
        import pytest

        options = ["-x", "-q", "-m", "not long", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout", str(seconds)]
        os._exit(int(pytest.main([*options, *tests], plugins=[First(word)])))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def main() -> int:
    """Try them all; the number of survivors without an excuse is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--random", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    import numpy  # noqa: F401  # what every fork needs is imported once
    import pandas  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch

    torch.set_num_threads(1)
    todo = [Mutant(file, *change) for file, changes in MUTANTS.items() for change in changes]
    todo += [*ignored(), *drawn(given.random, given.seed)]
    todo = [mutant for mutant in todo if given.only in str(mutant)]
    excused = [mutant for mutant in todo if (mutant.file, mutant.after) in EQUIVALENT]
    todo = [mutant for mutant in todo if mutant not in excused]
    survivors: list[Mutant] = []
    sets = sorted({" ".join(tests_of(mutant.file)) for mutant in todo})
    limits: dict[str, float] = {}
    with copies(given.jobs) as trees, ThreadPoolExecutor(given.jobs) as pool:
        free = list(trees)

        def sound(tests: str) -> None:  # else a broken test would kill everything
            tree, begun = free.pop(), time.monotonic()
            if not passes(tree, tests.split(), SECONDS):
                raise SystemExit(f"without any change, these do not pass: {tests}")
            limits[tests] = 60 + 3 * (time.monotonic() - begun)
            free.append(tree)

        list(pool.map(sound, sets))

        def tried(mutant: Mutant) -> None:
            tree = free.pop()
            try:
                left = survives(mutant, tree, limits[" ".join(tests_of(mutant.file))])
                survivors.extend([mutant] * left)
                print(f"{'SURVIVES' if left else 'killed'} {mutant}", flush=True)
            finally:
                free.append(tree)

        list(pool.map(tried, todo))
    print(f"{len(todo) - len(survivors)} / {len(todo)} killed; {len(excused)} equivalent")
    return len(survivors)


if __name__ == "__main__":
    sys.exit(main())
