"""A stand-in for the App API: its endpoints, limits and faults, written from the API's documents alone.

It shares no code with the checks of `sender`, so that the two can prove each other.
"""
