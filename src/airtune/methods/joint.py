"""`joint`: pruning rates and bandwidth of everybody, chosen together, with a proof of optimality."""

from airtune.methods.method import Method, planned_by

METHOD = Method("joint", planned_by("joint"), shares_band=True)
