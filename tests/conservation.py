"""No message is lost from the count: what the tests of traces ask of every state."""

from mqlab.state import State


def conserved(state: State) -> bool:
    """Every message that was published, and every copy, is in exactly one place or has ended."""
    everywhere = state.in_exchange + state.ready + state.unacked + sum(state.ended.values())
    return state.published + state.copied == everywhere
