"""A run is a folder: what it keeps, what it knows of every sample, the model it ends with."""

from alasca.runs.beginning import refuse_used as refuse_used
from alasca.runs.claim import Claim as Claim
from alasca.runs.claim import claimed as claimed
from alasca.runs.folder import Json as Json
from alasca.runs.folder import RunFolder as RunFolder
from alasca.runs.inputs import named_inputs as named_inputs
from alasca.runs.looks import Seen as Seen
from alasca.runs.model import Model as Model
from alasca.runs.model import describe_model as describe_model
from alasca.runs.model import load as load
from alasca.runs.model import model_tensors as model_tensors
from alasca.runs.model import own_tokenizer as own_tokenizer
from alasca.runs.model import tokens_of as tokens_of
from alasca.runs.reading import FORMAT as FORMAT
from alasca.runs.reading import check_history as check_history
from alasca.runs.reading import sealed as sealed
from alasca.runs.records import Records as Records
