"""sender delivers a pile of jobs to the Customer.io App API: paced to its limit, nothing lost, nothing twice."""

__version__ = "0.1.0"
