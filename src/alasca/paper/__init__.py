"""The paper's tables and figures as runs: ``alasca reproduce``."""

from alasca.paper.analysis import analyse as analyse
from alasca.paper.catalogue import ALL as ALL
from alasca.paper.catalogue import Cell as Cell
from alasca.paper.catalogue import cells_of as cells_of
from alasca.paper.catalogue import tables_of as tables_of
from alasca.paper.draw import draw_figure as draw_figure
from alasca.paper.estimate import Estimates as Estimates
from alasca.paper.outcomes import compile_table as compile_table
from alasca.paper.outcomes import finished as finished
from alasca.paper.outcomes import read_outcomes as read_outcomes
from alasca.paper.protocols import PROTOCOLS as PROTOCOLS
from alasca.paper.work import Worker as Worker
