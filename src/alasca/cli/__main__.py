"""``python -m alasca.cli``, which does not import what lies in the current folder in the place of libraries."""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()):  # Python puts it first; a network of one's own is found at the end
    del sys.path[0]

from alasca.cli import main

main()
