"""The laws that every method keeps, alone and inside ALASCA. Run them over your own method::

    from alasca.testing import LAWS
    for law in LAWS.values():
        law(lambda: MyMethod())

They run on a CPU in seconds, on a small network with BatchNorm and dropout and 64 planted pictures. Law 7, two
processes, is `law_7_ranks_agree`: it runs over registered methods.
"""

from alasca.testing.laws import LAWS as LAWS
from alasca.testing.laws import everything as everything
from alasca.testing.laws import one_step as one_step
from alasca.testing.laws import require_same as require_same
from alasca.testing.laws import stores as stores
from alasca.testing.planted import LawNet as LawNet
from alasca.testing.planted import job as job
from alasca.testing.planted import kept_in as kept_in
from alasca.testing.planted import planted as planted
from alasca.testing.planted import settings as settings
from alasca.testing.planted import trained as trained
from alasca.testing.planted import trainer as trainer
