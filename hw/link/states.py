"""State machines with a flip-flop for each state: fewer gates where states have few neighbours."""

from amaranth import Module, Signal, Value


class States:
    """States and the transitions between them.

    Parameters
    ----------
    names : str
        Separated by blanks; the first is the one after reset. Each becomes an attribute, high
        while the machine is in that state.
    """

    def __init__(self, names: str):
        self._names = names.split()
        self._enter: dict[str, list[Value]] = {name: [] for name in self._names}
        self._leave: dict[str, list[Value]] = {name: [] for name in self._names}
        for name in self._names:
            setattr(self, name, Signal(init=name == self._names[0], name=f"state_{name}"))

    def __getattr__(self, name: str) -> Signal:
        raise AttributeError(f"state must be one of {', '.join(self._names)}, not {name!r}")

    def go(self, source: str, condition, target: str):
        """Go from a state to another one; of a source's conditions at most one may hold."""
        self._enter[target].append(getattr(self, source) & condition)
        self._leave[source].append(condition)

    def build(self, m: Module):
        """Add the flip-flops to a module."""
        for name in self._names:
            state, leave, enter = getattr(self, name), Value.cast(0), Value.cast(0)
            for condition in self._leave[name]:
                leave = leave | condition
            for condition in self._enter[name]:
                enter = enter | condition
            m.d.sync += state.eq(enter | state & ~leave)
