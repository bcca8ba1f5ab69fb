"""Choices that each compile a kernel of its own, in few combinations in which any two of them meet."""

import itertools


def ways(**choices):
    """Combinations such that any two values of two choices are in one together.

    All combinations would take minutes to compile; what goes wrong with two choices together is found all the same.

    Parameters
    ----------
    **choices : list of any

    Returns
    -------
    list of tuples
        A value of each choice, in the order in which they are given.
    """
    numbered = [[(name, i) for i in range(len(values))] for name, values in choices.items()]
    combinations = [set(itertools.combinations(some, 2)) for some in itertools.product(*numbered)]
    missing, found = set().union(*combinations), []
    while missing:
        best = max(combinations, key=lambda pairs: len(missing & pairs))
        missing -= best
        numbers = dict(one for pair in best for one in pair)
        found.append(tuple(values[numbers[name]] for name, values in choices.items()))
    return found
