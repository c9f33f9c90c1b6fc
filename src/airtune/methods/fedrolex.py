"""`fedrolex`: HeteroFL whose sub-models roll through the model, so that everything is trained in the end.

Alam et al., "FedRolex: model-heterogeneous federated learning with rolling sub-model extraction", NeurIPS
2022: in each round the window of kept units begins one unit further, and goes on at the first after the
last. Levels, who gets which, the weights of the mean and what is left out are those of `heterofl`.
"""

from collections.abc import Sequence

from airtune.costs.shapes import ModelShape
from airtune.methods.by_speed import by_speed
from airtune.methods.heterofl import LEVELS, window
from airtune.methods.method import Method, Priced, planned_by
from airtune.pruning.path import Reduction


def submodels(full: ModelShape, priced: Priced, number: int) -> Sequence[Reduction]:
    """This round's windows."""
    return by_speed([window(full, level, number - 1) for level in LEVELS], priced)


METHOD = Method("fedrolex", planned_by("fedit"), submodels=submodels, baseline=True)
