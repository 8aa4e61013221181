"""``python -m alasca.cli``."""

from alasca.cli import main

main()
