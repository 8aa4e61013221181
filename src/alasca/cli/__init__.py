"""The command line: `alasca demo | clean | audit | repair | train | resume | report | list`."""

from __future__ import annotations


def main(arguments: list[str] | None = None) -> None:
    """Entry point; see `alasca.cli.entry.main`. Nothing is imported before: ``-m`` mends first where Python looks."""
    from alasca.cli.entry import main as entry

    entry(arguments)
