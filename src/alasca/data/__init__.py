"""Data: tasks and where they come from, label noise, splits, views of a sample, and the stream of batches."""

from alasca.data.loader import Loader as Loader
from alasca.data.noise import NOISES as NOISES
from alasca.data.pool import Pool as Pool
from alasca.data.rows import Rows as Rows
from alasca.data.samples import Samples as Samples
from alasca.data.samples import subset as subset
from alasca.data.sources import SOURCES as SOURCES
from alasca.data.sources import load_task as load_task
from alasca.data.sources import relabelled as relabelled
from alasca.data.split import Split as Split
from alasca.data.split import make_split as make_split
from alasca.data.task import Reading as Reading
from alasca.data.task import Task as Task
from alasca.data.text import Texts as Texts
from alasca.data.transform import Transform as Transform
