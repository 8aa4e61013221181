"""A trained model for elsewhere: as a program of torch or ONNX, or as plain weights, each with a card."""

from alasca.export.writing import FORMS as FORMS
from alasca.export.writing import Exported as Exported
from alasca.export.writing import export as export
