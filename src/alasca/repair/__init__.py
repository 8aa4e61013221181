"""From decisions about labels to data with these labels, in the form in which the data came."""

from alasca.repair.changes import Change as Change
from alasca.repair.changes import decided as decided
from alasca.repair.mending import Repaired as Repaired
from alasca.repair.mending import repair as repair
from alasca.repair.moves import undo as undo
