"""`pruning-only`: the best pruning rates on equal bandwidth within each cell."""

from airtune.methods.method import Method, planned_by

METHOD = Method("pruning-only", planned_by("pruning-only"))
