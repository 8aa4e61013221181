"""Networks by name: small ones of our own, or any callable ``package.module:name``."""

from alasca.networks.registry import NETWORKS as NETWORKS
from alasca.networks.registry import create_network as create_network
