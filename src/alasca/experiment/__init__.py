"""Settings in, run folder out: what the command line, the demo and benchmark tables share."""

from alasca.experiment.prepare import prepare as prepare
from alasca.experiment.run import resume as resume
from alasca.experiment.run import train as train
from alasca.experiment.settings import Settings as Settings
from alasca.experiment.settings import option_value as option_value
