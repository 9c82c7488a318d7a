"""Where the line of a model call waits for its turn: after authorization and loop checks, before anything is held."""

from functools import partial

from gateway.core.attribution import Attribution
from gateway.core.call import Arrival
from gateway.core.denial import Refused
from gateway.core.estimate import delta_bound
from gateway.core.model_ask import ModelAsk
from gateway.pipeline.answer import ClientLeft
from gateway.pipeline.balance import BYTES_A_TOKEN, OUTPUT_TOKENS_USUAL, places_of
from gateway.pipeline.capacity import Turn
from gateway.pipeline.plane import Plane
from gateway.pipeline.reserve import refuse_what_no_wait_cures
from gateway.pipeline.sessions import LiveSession, refuse_unless_open


async def wait_for_turn(
    plane: Plane, live: LiveSession, ask: ModelAsk, attribution: Attribution, arrival: Arrival
) -> Turn | None:
    """None = the providers of this model share out no capacity. Raises Refused and ClientLeft; then none is taken."""
    turn = plane.capacity.turn(
        ask.model.deployments, attribution, arrival.headers, arrival.left, partial(places_of, plane, ask)
    )
    if turn is None:
        return None
    turn.tokens = expected_tokens(ask, live)
    try:
        await turn.come(partial(refuse_what_no_wait_cures, plane, live, ask, attribution))
    except Refused:
        if turn.client_left:
            raise ClientLeft from None
        raise
    if turn.waited_us:
        try:
            refuse_unless_open(live)
        except BaseException:
            turn.leave(None)
            raise
    return turn


def expected_tokens(ask: ModelAsk, live: LiveSession) -> int:
    """What a call will probably use; not a bound, and put right when it ends."""
    weight = ask.prompt.weight
    guess = (weight.tokens_max - weight.constants) // BYTES_A_TOKEN + weight.constants
    prompt = guess if ask.continues is None else min(guess, delta_bound(ask.continues, ask.prompt))
    if not ask.produces_output:
        return prompt
    usual = (live.turns.usual_output_tokens or OUTPUT_TOKENS_USUAL) * ask.choices
    return prompt + (usual if ask.client_max_tokens is None else min(usual, ask.client_max_tokens * ask.choices))
