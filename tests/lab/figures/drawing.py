"""Sample figures, each drawn once in a process: drawing them is what these tests spend time on."""

from functools import cache


@cache
def drawn_once(make):
    """Return the figure that `make` draws."""
    return make()


def all_drawn(makers):
    """Return the figure of each maker, by name."""
    return {name: drawn_once(make) for name, make in makers.items()}
