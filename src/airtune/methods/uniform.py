"""`uniform`: one pruning rate for everybody, the best there is, on equal bandwidth within each cell."""

from airtune.methods.method import Method, planned_by

METHOD = Method("uniform", planned_by("uniform"))
