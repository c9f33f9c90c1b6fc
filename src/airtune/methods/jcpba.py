"""`jcpba`: block coordinate descent over pruning rates and bandwidth, our reading of arXiv 2602.01024.

Only its abstract is public: order of the blocks, start and end of the descent are ours (`planning.jcpba`).
"""

from airtune.methods.method import Method, planned_by

METHOD = Method("jcpba", planned_by("jcpba"), shares_band=True)
