"""The command line: `alasca demo | train | resume | report | list`."""

from alasca.cli.commands import app as app
from alasca.cli.entry import main as main
