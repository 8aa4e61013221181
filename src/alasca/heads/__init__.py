"""Networks with sub-classifiers on their intermediate layers, attached by module name through forward hooks."""

from alasca.heads.averages import EmaWeights as EmaWeights
from alasca.heads.classifiers import HEADS as HEADS
from alasca.heads.classifiers import pool as pool
from alasca.heads.network import Network as Network
from alasca.heads.network import SubClassifiers as SubClassifiers
from alasca.heads.network import evaluated as evaluated
from alasca.heads.network import quiet_batchnorm as quiet_batchnorm
from alasca.heads.taps import hidden_gradients as hidden_gradients
from alasca.heads.taps import opened as opened
