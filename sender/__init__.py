"""sender delivers a pile of jobs to the Customer.io App API: paced to its limit, nothing lost, nothing twice."""

from sender.send.public_names import __getattr__ as __getattr__

__version__ = "0.1.0"
