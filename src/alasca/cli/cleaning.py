"""`alasca clean | audit | repair`: from data with bad labels to better ones."""

from __future__ import annotations

import csv
import shutil
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from alasca.cli.arguments import data_of, new_folder
from alasca.cli.codes import ENDED
from alasca.cli.commands import app as app
from alasca.cli.options import GROUPS, WHOLE, OpenOptions, PlaceOptions, given_of, place_of
from alasca.errors import InputError
from alasca.recipe import RUN, Recipe
from alasca.terminal import processes, say, typed

if TYPE_CHECKING:
    from alasca.data import Task
    from alasca.recipe import Place
    from alasca.repair import Repaired
    from alasca.runs import RunFolder


CHECK = "check.csv"
"""In a run's folder: labels drawn to be checked by hand, and the answers, which are followed once they are there."""


@app.command
def clean(
    data: Annotated[str, Parameter(help="A folder of pictures, a table, an archive, or what --data takes.")],
    /,
    *,
    minutes: Annotated[float | None, Parameter(group=GROUPS[RUN], help="Fit the training into so many.")] = None,
    auto: Annotated[
        bool,
        Parameter(
            group=GROUPS[RUN],
            negative="",
            help="Try a few other settings first, on labels that are held out; takes four to five times as long.",
        ),
    ] = False,
    settings: OpenOptions = OpenOptions(),  # noqa: B008  # frozen
    place: PlaceOptions = PlaceOptions(),  # noqa: B008
    out: Annotated[Path | None, Parameter(group=GROUPS[RUN], help="New run folder. Default: runs/clean-DATE.")] = None,
) -> int:
    """Find the wrong labels of a data set, and write it anew with those changed whose change is expected to help.

    Settings that are not given are those that suit the data; nothing is held out.

    Example: alasca clean photos/
    """
    from alasca.cli.telling import carry_out
    from alasca.data import load_task, relabelled
    from alasca.engine import Progress
    from alasca.runs import refuse_used
    from alasca.training import advice, suited, train, within

    spec, where, folder = data_of(data), place_of(place), out or new_folder("clean")
    if minutes is not None and not 0 < minutes < 1e6:
        raise InputError(f"minutes: {minutes:g}, expected above 0")
    given = given_of(settings)
    if auto and processes()[1] > 1:
        raise InputError("auto: several processes; try with one, then give the settings that it took")
    refuse_used(folder)
    task = load_task(Recipe(data=spec, **given), where)
    labelled = task if given.get("labels") is None else relabelled(task, given["labels"])
    recipe = suits = Recipe(data=spec, **{**suited(labelled, given, where.device), **given})
    if (hint := advice(labelled, suits)) is not None:
        tell([f"hint     {hint}"])
    del labelled
    if minutes is not None:
        recipe, note = within(suits, task, where, minutes / 2 if auto else minutes)
        say(f"time     {note}")
    if auto:
        tries = suits
        if minutes is not None:
            tries, _ = within(suits, task, where, minutes / 2 / count_of(suits, task, given))
            tries = replace(tries, epochs=min(tries.epochs, recipe.epochs))
        recipe = replace(recipe, **tried(tries, task, where, given))
    del task

    def work() -> RunFolder:
        run = train(recipe, None, where, folder, Progress.for_terminal())
        finished(run)
        return run

    return carry_out(folder, work, tells=False)


def count_of(recipe: Recipe, task: Task, given: Collection[str]) -> int:
    """How many tries there are."""
    from alasca.training import choices

    return 1 + sum(map(len, choices(recipe, task, given)))


def tried(recipe: Recipe, task: Task, place: Place, given: Collection[str]) -> dict[str, Any]:
    """The changes of a few tries that are worth it, after saying what was tried."""
    from alasca.engine import Progress
    from alasca.training import chosen, told

    count = count_of(recipe, task, given)
    say(f"tries    {count} settings on labels that are held out, {recipe.epochs} epochs each")
    best, trials = chosen(recipe, task, place, given, Progress.for_terminal(announces=False))
    tell([f"tried    {told(recipe, best, trials)}"])
    return best.change


def finished(run: RunFolder) -> None:
    """After a training: write the tables and pages, repair, and say what was found and what to type next."""
    from alasca.audit.report import write_report
    from alasca.repair import repair

    write_report([run], run.path / "report.html")
    summary, _ = audited(run)
    tell(summary)
    alike = next((note for note in run.settings()["notes"] if note.startswith("classes that differ in spelling")), None)
    if alike is not None:
        tell([f"Not repaired: {alike}"])
    elif run.done()["label_fixes"]:
        try:
            repaired = repair(run, rename=True)
        except InputError as error:  # the table can't be copied: the list is there all the same
            tell([f"Not repaired: {str(error).removeprefix('repair: ')}"])
        else:
            tell_repaired(repaired)
    listed = typed(run.path / "issues.csv")
    tell([
        f"Look at:      {run.path / 'report.html'}",
        f"Every label:  {run.path / 'issues.csv'}",
        f"Your own say: change decisions in it, then alasca repair {typed(run.path)} --apply {listed} --to NEW",
        f"Use it:       alasca predict {typed(run.path)} INPUT...",
    ])  # fmt: skip


def tell(lines: Sequence[str]) -> None:
    """Lines, wrapped at the width of the terminal."""
    width = max(40, shutil.get_terminal_size((100, 24)).columns)
    for line in lines:
        say(textwrap.fill(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))


def audited(
    run: RunFolder, by: tuple[str, ...] = (), answers: Path | None = None, samples: bool = True
) -> tuple[list[str], Any]:
    """Write issues.csv and summary.html into a run's folder; the lines that say what was found, and the records."""
    from alasca.audit.checking import answered, answers_in, checked
    from alasca.audit.pages import PAGE, write_issues, write_page
    from alasca.audit.summary import summarise, told
    from alasca.repair.tables import column_by_id

    run.done()  # says what to type where it has not ended
    records = run.records()
    columns = {name: column_by_id(run, records, name) for name in by}
    share = None
    lines: list[str] = []
    if answers is None and answered(run.path / CHECK):
        answers = run.path / CHECK
    if answers is not None:
        records, share, lines = checked(records, answers_in(answers, records))
    summary = replace(summarise(run, records, columns, share), checked=tuple(lines))
    found = told(summary, records)
    for name, table in summary.slices.items():
        rows = table.head(5).to_dict("records")
        found += [
            f"{name} {row['value']}: about {row['expected_wrong']:,.0f} ({row['from']:,.0f} to {row['to']:,.0f}) of "
            f"{row['labels']:,} are wrong, {row['fix']:,} of them fix" for row in rows
            if row["to"] == row["to"]  # else nothing is known
        ]  # fmt: skip
        found += [f"{len(table) - 5:,} more in {run.path / PAGE}"] if len(table) > 5 else []
    if not write_issues(records, run.path):
        found.append(f"{run.path / 'issues.csv'} was edited, and stays as it is; move it away for a new one.")
    write_page(run, summary, records, run.path / PAGE, samples)
    return found, records


@app.command
def audit(
    run: Annotated[Path, Parameter(help="Folder of a finished run.")],
    /,
    *,
    by: Annotated[tuple[str, ...], Parameter(help="Also count by this column of the table. Repeatable.")] = (),
    sample: Annotated[int | None, Parameter(help="Draw so many labels to check by hand: check.csv.", **WHOLE)] = None,
    seed: Annotated[int, Parameter(help="Of the draw.", **WHOLE)] = 0,
    checked: Annotated[Path | None, Parameter(help="check.csv with your answers: probabilities follow them.")] = None,
    samples: Annotated[bool, Parameter(help="Name samples on the page.")] = True,
) -> int:
    """Say which labels of a run look wrong: issues.csv with every label, and summary.html, a page to print.

    Example: alasca audit runs/photos --sample 200
    """
    from alasca.audit.checking import draw, sheet, texts_of
    from alasca.files import write_bytes
    from alasca.runs import RunFolder

    opened = RunFolder.open(run)
    lines, records = audited(opened, by, checked, samples)
    tell([*lines, f"Every label: {opened.path / 'issues.csv'}", f"One page:    {opened.path / 'summary.html'}"])
    if sample is not None:
        path = opened.path / CHECK
        if path.exists():
            raise InputError(f"sample: {path} is there already, maybe with answers; move it away first")
        content = sheet(records, draw(records, sample, seed), texts_of(opened, records)).to_csv(
            index=False, lineterminator="\n", quoting=csv.QUOTE_ALL
        )
        write_bytes(path, content.encode())
        tell([
            f"To check:    {path}",
            "Write yes or no into label_is_right, beside a no the class that is right into right_label where you know "
            f"it, then: alasca audit {typed(run)} --checked {typed(path)}",
        ])  # fmt: skip
    return ENDED


@app.command
def repair(
    run: Annotated[Path, Parameter(help="Folder of a finished run.")],
    /,
    *,
    apply: Annotated[str, Parameter(help="fix, all, drop, or a file: id,label, or issues.csv edited.")] = "fix",
    to: Annotated[Path | None, Parameter(help="New folder. Default: repaired in the run's.")] = None,
    dry_run: Annotated[bool, Parameter(help="Say what would be changed, and change nothing.", negative="")] = False,
    in_place: Annotated[bool, Parameter(help="Change the data where they lie.", negative="")] = False,
    rename: Annotated[
        bool,
        Parameter(help="Where a picture's name is taken in its new folder, put the old class before it.", negative=""),
    ] = False,
    undo: Annotated[bool, Parameter(help="Take back what --in-place did.", negative="")] = False,
) -> int:
    """Write the data anew with better labels, in the form in which they came.

    Nothing of yours is changed without --in-place; --undo takes that back.

    Example: alasca repair runs/photos --dry-run
    """
    from alasca.audit.checking import answered, answers_in, checked
    from alasca.repair import repair as repair_data
    from alasca.repair import undo as take_back
    from alasca.runs import RunFolder

    opened = RunFolder.open(run)
    records = None
    if not undo and answered(opened.path / CHECK):
        records, _, _ = checked(opened.records(), answers_in(opened.path / CHECK, opened.records()))
        tell([f"Decisions follow the answers in {opened.path / CHECK}"])
    if undo:
        say(counted(take_back(to or run / "repaired"), "step", "taken back"))
        return ENDED
    found = repair_data(opened, apply, to, in_place, rename, dry_run, records)
    if not dry_run:
        tell_repaired(found)
        if found.data is not None:
            options = " ".join(options_of_data(opened.recipe()))
            tell([f"Next: alasca clean {typed(found.data)} {options}".rstrip() + ", or train with the same options"])
        return ENDED
    for change in found.changes[:20]:
        say(f"  {change.id}: {change.given} -> {change.fixed or 'left out'}")
    if len(found.changes) > 20:
        say(f"  ... and {len(found.changes) - 20:,} more")
    tell([*found.notes, f"{len(found.changes):,} labels would be changed; nothing was written"])
    return ENDED


def tell_repaired(found: Repaired) -> None:
    """What was changed, and where it lies."""
    out = sum(change.fixed is None for change in found.changes)
    counts = [
        counted(len(found.changes) - out, "label", "changed"),
        *([counted(out, "sample", "left out")] if out else []),
    ]
    tell([f"{', '.join(counts)}:", *(f"  {path}" for path in found.wrote), *found.notes])


def counted(count: int, what: str, done: str) -> str:
    """A count for people.

    >>> counted(1, "label", "changed"), counted(1200, "label", "changed")
    ('1 label changed', '1,200 labels changed')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'} {done}"


def options_of_data(recipe: Recipe) -> list[str]:
    """The options that say how the data of a recipe are read, as they are typed."""
    names = (
        "input",
        "label",
        "id",
        "group",
        "true",
        "split",
        "missing_label",
        "image_size",
        "normalise_labels",
        "features",
    )
    plain, found = Recipe(), []
    for name in names:
        value = getattr(recipe, name)
        if value != getattr(plain, name) and not (name == "image_size" and value == 32):
            found += [f"--{name.replace('_', '-')}", *([] if value is True else [typed(str(value))])]
    return found
