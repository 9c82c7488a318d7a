"""How many tokens a prompt has: free, bound by no limit and sent to nobody, so there is nothing to hold or to book."""

from gateway.core.call import Arrival, Caller
from gateway.core.denial import Code, Denial, Refused
from gateway.core.estimate import TurnMemory
from gateway.pipeline.authorize import standing_context, usable_models
from gateway.pipeline.chat import model_named
from gateway.pipeline.plane import Plane
from gateway.pipeline.read_request import model_ask, request_facts
from gateway.pipeline.reserve import counted_prompt


async def count_prompt(plane: Plane, caller: Caller, arrival: Arrival) -> int:
    """Counted by our tokenizer and the factor of the model's family (rule 2). Raises Refused for a request that could
    not be sent, and for a model that this key may not use."""
    facts = request_facts(arrival)
    model = model_named(plane, caller, facts.model)
    if model.alias not in usable_models(plane, caller, standing_context(plane, caller)):
        raise Refused(Denial(Code.MODEL_DENIED, f"Model '{model.alias}' is not one that this key may use."))
    return await counted_prompt(plane, model_ask(plane, arrival, facts, model, frozenset(), TurnMemory()))
