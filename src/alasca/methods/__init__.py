"""The methods, one file each, and how they are made from names and options."""

from alasca.methods.registry import WRAPPER as WRAPPER
from alasca.methods.registry import all_options as all_options
from alasca.methods.registry import create_method as create_method
from alasca.methods.registry import list_methods as list_methods
from alasca.methods.registry import load as load
from alasca.methods.registry import method_class as method_class
from alasca.methods.registry import method_of as method_of
from alasca.methods.registry import option_names as option_names
from alasca.methods.registry import preset_options as preset_options
from alasca.methods.registry import short_run as short_run
from alasca.methods.registry import wrap as wrap
