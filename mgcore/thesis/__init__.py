"""The thesis's network, what it minimises, and its derivatives, on dictionaries of weights."""
