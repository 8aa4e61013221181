"""The seam: what a method, a network and the training loop say to each other.

The whole training loop, as pseudocode (`alasca.engine` is its only implementation)::

    for stage in method.stages(epochs):                  # nearly always one
        nets = [method.attach(network) for each network]
        method.begin(nets, problem)                      # per-sample tables and own parameters are made here
        for epoch in range(stage.epochs):
            for phase in method.plan(nets, probe, clock):
                for batches in loader(phase):            # one Batch per stream
                    clock.draws = method.draws(phase, clock)
                    step = method.step(nets, batches, phase, clock)
                    step.loss.backward()
                    method.on_gradients(backbone, clock)
                    optimiser.step()
                    method.on_updated(nets, phase, clock)
            log(accuracy of each of method.predictions(), quality of method.selected())
        method.end_stage(nets, probe, clock)

A method never sees clean labels: `Batch` and `Problem` have no field for them.
"""

from alasca.core.method import LossMethod as LossMethod
from alasca.core.method import Method as Method
from alasca.core.method import Preset as Preset
from alasca.core.method import Selection as Selection
from alasca.core.method import Trained as Trained
from alasca.core.method import own_tensors as own_tensors
from alasca.core.net import Holder as Holder
from alasca.core.net import Net as Net
from alasca.core.net import Output as Output
from alasca.core.net import backbone as backbone
from alasca.core.net import full_precision as full_precision
from alasca.core.net import unwrapped as unwrapped
from alasca.core.plan import Clock as Clock
from alasca.core.plan import Phase as Phase
from alasca.core.plan import Probe as Probe
from alasca.core.plan import Problem as Problem
from alasca.core.plan import Stage as Stage
from alasca.core.plan import Stream as Stream
from alasca.core.step import Batch as Batch
from alasca.core.step import Mixed as Mixed
from alasca.core.step import Seen as Seen
from alasca.core.step import Step as Step
from alasca.core.wrapper import MethodWrapper as MethodWrapper
from alasca.errors import InputError as InputError
