"""What is done to a network: surveyed, made to return an `Output`, given sub-classifiers, tails, taps and averages."""

from alasca.surgery.averages import EmaWeights as EmaWeights
from alasca.surgery.classifiers import HEADS as HEADS
from alasca.surgery.classifiers import pool as pool
from alasca.surgery.classifiers import recompute_maps as recompute_maps
from alasca.surgery.output_net import OutputNet as OutputNet
from alasca.surgery.output_net import SubClassifiers as SubClassifiers
from alasca.surgery.output_net import compile_training as compile_training
from alasca.surgery.output_net import set_arithmetic as set_arithmetic
from alasca.surgery.passes import evaluated as evaluated
from alasca.surgery.passes import feature_of as feature_of
from alasca.surgery.passes import plain_forward as plain_forward
from alasca.surgery.passes import quiet_batchnorm as quiet_batchnorm
from alasca.surgery.passes import quiet_forward as quiet_forward
from alasca.surgery.passes import with_plain_forwards as with_plain_forwards
from alasca.surgery.taps import hidden_gradients as hidden_gradients
from alasca.surgery.taps import opened as opened
