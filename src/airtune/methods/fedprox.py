"""`fedprox`: FedIT whose clients are held near the adapter that they were sent.

Li et al., "Federated optimization in heterogeneous networks", MLSys 2020: ½·μ·‖θ − θ_t‖² joins every
client's loss. Their other half, fewer local steps on slow devices, is left out: all methods here have the
same steps. μ is the middle one of the values that they try on real data (0.001, 0.01, 0.1, 1).
"""

from airtune.methods.method import Method, planned_by

METHOD = Method("fedprox", planned_by("fedit"), proximal=0.01, baseline=True)
