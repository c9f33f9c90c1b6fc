"""The server's judge: the full model with the current adapter on the test set."""

from airtune.learning.evaluation import evaluate
from airtune.learning.local_data import test_set
from airtune.learning.models import load_base
from airtune.learning.partition import own_text
from airtune.methods import METHODS
from airtune.pruning.adapters import Adapter
from airtune.pruning.path import Reduction
from airtune.pruning.stacking import weight_changes
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape
from airtune.scenario import Scenario


class Judge:
    """Holds the full model and the tokenised test set, so that every round costs forward passes only."""

    def __init__(self, scenario: Scenario) -> None:
        base = load_base(scenario.model.name, scenario.model.dtype)
        self._scale = scenario.lora.scale if METHODS[scenario.method].stacks else None
        lora = scenario.lora.model_copy(update={"rank": "full"}) if self._scale else scenario.lora
        full = model_shape(base.model, lora)
        self._model = build_submodel(base.model, full, Reduction.none(full), lora)
        self._pad_id = base.tokenizer.pad_token_id
        self._examples, labels = test_set(scenario)
        self._groups = own_text(scenario, labels)

    def losses(self, adapter: Adapter) -> tuple[float, dict[str, float]]:
        """Mean loss an answer token of the whole test set, and of the text like each client group's own."""
        load_adapter(self._model, weight_changes(adapter, self._scale) if self._scale else adapter)
        result = evaluate(self._model, self._examples, self._pad_id)
        return result.mean(), {group: result.mean(own) for group, own in self._groups.items()}
