"""Per-sample tables, by index: persistent buffers, written in place, without waiting for the device."""

from alasca.stores.selected import Kept as Kept
from alasca.stores.table import STORES as STORES
from alasca.stores.table import CompactStore as CompactStore
from alasca.stores.table import SampleStore as SampleStore
from alasca.stores.table import Shadow as Shadow
from alasca.stores.table import Table as Table
from alasca.stores.table import make_store as make_store
from alasca.stores.table import mean_by_index as mean_by_index
from alasca.stores.trace import Trace as Trace
from alasca.stores.trace import Traced as Traced
from alasca.stores.trace import against_others as against_others
from alasca.stores.trace import visit_of as visit_of
