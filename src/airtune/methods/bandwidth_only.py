"""`bandwidth-only`: FedIT with the best bandwidth: nothing is pruned, those of a cell finish together."""

from airtune.methods.method import Method, planned_by

METHOD = Method("bandwidth-only", planned_by("bandwidth-only"), baseline=True, shares_band=True)
