"""ALASCA: the objective (eq. 3 of Ko et al., 2022), and the wrapper that adds it to any method."""

from alasca.methods.alasca.objective import AuxiliaryObjective as AuxiliaryObjective
from alasca.methods.alasca.objective import Smoothing as Smoothing
from alasca.methods.alasca.objective import Targets as Targets
from alasca.methods.alasca.objective import takes as takes
from alasca.methods.alasca.wrapper import Alasca as Alasca
