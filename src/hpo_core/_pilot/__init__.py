"""A worker on each node that runs evaluations for the driver: both ends of it, and what they say (docs/pilot.md).

All of it needs nothing but the standard library of Python 3.8: it is shipped to the nodes as one file.
"""
