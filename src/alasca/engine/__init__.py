"""The training loop: said once in `alasca.core`, written once in `alasca.engine.loop`."""

from alasca.engine.capture import obstacle as obstacle
from alasca.engine.device import borrowed_process as borrowed_process
from alasca.engine.device import computed_as as computed_as
from alasca.engine.device import multiplies_bf16 as multiplies_bf16
from alasca.engine.device import precision_on as precision_on
from alasca.engine.device import resolve_device as resolve_device
from alasca.engine.device import seed_generators as seed_generators
from alasca.engine.loop import Trainer as Trainer
from alasca.engine.metrics import finite as finite
from alasca.engine.optimizers import Optimizers as Optimizers
from alasca.engine.probe import SampleProbe as SampleProbe
from alasca.engine.probe import accuracy as accuracy
from alasca.engine.probe import outputs_of as outputs_of
from alasca.engine.probe import plain_views as plain_views
from alasca.engine.probe import predictions as predictions
from alasca.engine.progress import Progress as Progress
from alasca.engine.schedule import lr_factor as lr_factor
from alasca.engine.setup import Job as Job
from alasca.engine.state import Fitted as Fitted
from alasca.engine.state import network_tensors as network_tensors
from alasca.engine.stopping import Diverged as Diverged
from alasca.engine.stopping import Stopped as Stopped
from alasca.engine.update import Update as Update
from alasca.engine.workbench import Workbench as Workbench
