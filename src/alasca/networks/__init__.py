"""Networks by name: the paper's, small ones of our own, other libraries', or any callable ``package.module:name``."""

from alasca.networks.registry import NETWORKS as NETWORKS
from alasca.networks.registry import OTHERS as OTHERS
from alasca.networks.registry import create_network as create_network
from alasca.networks.registry import is_own as is_own
from alasca.networks.registry import keep_network as keep_network
from alasca.networks.registry import named_network as named_network
from alasca.networks.registry import require_named as require_named
from alasca.networks.registry import text_tokenizer as text_tokenizer
from alasca.networks.text import Tokens as Tokens
