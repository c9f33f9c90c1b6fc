"""`joint-online`: `joint` for channels that change: each round's progress is weighed against the rounds
before.
"""

from airtune.methods.method import Method, planned_by

METHOD = Method("joint-online", planned_by("joint-online"), shares_band=True)
