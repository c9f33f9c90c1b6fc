"""`fedit`: federated averaging of LoRA's A and B, equal bandwidth, nothing pruned.

Zhang et al., "Towards building the federated GPT: federated instruction tuning", ICASSP 2024. They draw a
part of the clients in each round; here all take part, and `random-selection` draws.
"""

from airtune.methods.method import Method, planned_by

METHOD = Method("fedit", planned_by("fedit"), baseline=True)
