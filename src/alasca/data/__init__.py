"""Data: where samples come from, label noise, splits, views of a sample, and the stream of batches."""

from alasca.data.loader import Loader as Loader
from alasca.data.noise import NOISES as NOISES
from alasca.data.noise import apply_noise as apply_noise
from alasca.data.noise import labels_from_file as labels_from_file
from alasca.data.pool import Pool as Pool
from alasca.data.rows import Rows as Rows
from alasca.data.samples import Samples as Samples
from alasca.data.samples import subset as subset
from alasca.data.sources import BAD_IMAGE as BAD_IMAGE
from alasca.data.sources import SOURCES as SOURCES
from alasca.data.sources import Reading as Reading
from alasca.data.sources import Source as Source
from alasca.data.sources import load_source as load_source
from alasca.data.splits import balanced_part as balanced_part
from alasca.data.text import PADDING as PADDING
from alasca.data.text import Texts as Texts
from alasca.data.text import Vocabulary as Vocabulary
from alasca.data.text import encoded as encoded
