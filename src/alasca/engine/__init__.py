"""The training loop: said once in `alasca.core`, written once in `alasca.engine.loop`."""

from alasca.engine.loop import Trainer as Trainer
from alasca.engine.probe import SampleProbe as SampleProbe
from alasca.engine.probe import accuracy as accuracy
from alasca.engine.progress import Progress as Progress
from alasca.engine.settings import Training as Training
from alasca.engine.settings import resolve_device as resolve_device
from alasca.engine.setup import Data as Data
from alasca.engine.setup import check as check
from alasca.engine.state import Fitted as Fitted
from alasca.engine.stopping import Diverged as Diverged
from alasca.engine.stopping import Stopped as Stopped
