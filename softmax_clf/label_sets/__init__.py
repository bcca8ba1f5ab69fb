"""Fits of many label sets over the same rows, all in the same passes over X.

A target is a set of labels of its own, some of which may be missing, with weights of its own, a C and a number of
classes; a problem is a target, or what a fold of cross-validation leaves of one. All outputs of all problems are
stacked, as are those of one problem elsewhere, so that a pass over X is two products with a tall matrix. See
docs/method.md.

``labels``     labels of any kind, as small integers
``objective``  the objectives of all problems, one pass for all
``metric``     approximate Hessians that have one Gram matrix of X in common
``solver``     L-BFGS of many problems at once, in arrays
``fits``       how these are put together: samples of rows first, turns, and problems that are better fitted alone
"""
