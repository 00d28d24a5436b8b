"""Sample figures, each drawn once in a process: drawing them is what these tests spend time on."""

from functools import cache

import matplotlib as mpl


@cache
def drawn_once(make):
    """Return the figure that `make` draws."""
    return make()


def all_drawn(makers):
    """Return the figure of each maker, by name."""
    return {name: drawn_once(make) for name, make in makers.items()}


def texts(figure):
    """Return every text of a figure."""
    return [t.get_text() for t in figure.findobj(mpl.text.Text) if t.get_text().strip()]
