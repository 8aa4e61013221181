"""Per-sample state, by index: persistent buffers, written in place, without waiting for the device."""

from alasca.stores.selecting import ForgetRate as ForgetRate
from alasca.stores.selecting import Kept as Kept
from alasca.stores.selecting import LossMixture as LossMixture
from alasca.stores.selecting import estimated_noise_rate as estimated_noise_rate
from alasca.stores.selecting import losses_of as losses_of
from alasca.stores.table import STORES as STORES
from alasca.stores.table import CompactStore as CompactStore
from alasca.stores.table import SampleStore as SampleStore
from alasca.stores.table import Shadow as Shadow
from alasca.stores.table import make_store as make_store
from alasca.stores.table import mean_by_index as mean_by_index
