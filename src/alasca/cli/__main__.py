"""``python -m alasca.cli``, which does not import what lies in the current folder in the place of libraries."""

import contextlib
import os
import sys

with contextlib.suppress(FileNotFoundError):  # a current folder that is gone
    here = os.getcwd()
    if sys.path and sys.path[0] in ("", here):  # Python puts it first; a network of one's own is found at the end
        del sys.path[0]

from alasca.cli import main

main()
