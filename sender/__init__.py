"""sender delivers a pile of jobs to the Customer.io App API: paced to its limit, nothing lost, nothing twice."""

from sender.runtime.version import __version__ as __version__
from sender.send.public_names import __getattr__ as __getattr__
