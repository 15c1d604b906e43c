"""An attribute with a name of its own is set for every request."""

from load import serve


class State:
    pass


STATE = State()
serve(lambda number: setattr(STATE, f"job_{number}", [number, str(number)]))
