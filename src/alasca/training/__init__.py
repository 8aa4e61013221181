"""Recipe and task in, run folder out: what every door calls."""

from alasca.training.defaults import advice as advice
from alasca.training.defaults import suited as suited
from alasca.training.defaults import within as within
from alasca.training.embedding import backbone as backbone
from alasca.training.embedding import embedded_batches as embedded_batches
from alasca.training.embedding import embedded_task as embedded_task
from alasca.training.finish import outcome as outcome
from alasca.training.prepare import Prepared as Prepared
from alasca.training.prepare import machine_of as machine_of
from alasca.training.prepare import prepare as prepare
from alasca.training.prepare import resolve as resolve
from alasca.training.run import resume as resume
from alasca.training.run import train as train
from alasca.training.trying import Trial as Trial
from alasca.training.trying import choices as choices
from alasca.training.trying import chosen as chosen
from alasca.training.trying import told as told
