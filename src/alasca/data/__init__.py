"""Data: where samples come from, label noise, splits, views of a sample, and the stream of batches."""

from alasca.data.loader import Loader as Loader
from alasca.data.noise import NOISES as NOISES
from alasca.data.noise import apply_noise as apply_noise
from alasca.data.samples import Samples as Samples
from alasca.data.sources import SOURCES as SOURCES
from alasca.data.sources import Source as Source
from alasca.data.sources import load_source as load_source
from alasca.data.splits import balanced_part as balanced_part
