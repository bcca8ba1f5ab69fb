"""Metrics: approximate Hessians of the objective that solvers start from, how they are made, and which of them to take.

Formulas, costs, and where each of them wins: docs/method.md.

With p_i the probabilities of row i, the Hessian of F is

    H = sum_i s_i/S (diag(p_i) - p_i p_i') (x) x_i x_i'  +  l2_reg_strength I

(the intercept is one more column of x, unpenalised). Each metric keeps part of it:

exact       all of it, an array of (n_outputs * n_columns)^2
blocks      the blocks on the diagonal, one a class: H_k = sum_i s_i/S p_ik (1 - p_ik) x_i x_i' = L_k L_k', and those
            beside it as R_kl L_k L_l': R being halfway between the identity and the correlations of B, below. All of
            the correlations would be right if all H_k were alike; as they are not, directions in which the classes all
            but cancel come out too soft. Half of them saved 12 % of the passes over embeddings (50,000 x 512), a third
            at C >= 1000, against none; from 0.4 to 0.6 nothing changed by more than 2 %
kronecker   one block for all, B (x) A: A = sum_i s_i/S t_i x_i x_i' with t_i = 1 - ||p_i||^2, and B the mean of
            (diag(p_i) - p_i p_i') of trace one. At W = 0 it is exact (D. Bohning, Multinomial logistic regression
            algorithm, Annals of the Institute of Statistical Mathematics 44, 1992), later what survives averaging
head        of sparse data with many features: a Kronecker block for those that many rows have, for the others, which
            seldom meet, the diagonal of the blocks

Multinomial scores can be shifted by the same vector for all classes without changing F's first part, so the
steps of every metric are centred over the classes.

Half the squared gradient in a metric estimates F - F*, from below where the metric is stiffer than the Hessian in the
directions that are left. ``slack`` is how many times too small that may be: what was measured on pixels, patch
features, embeddings and unbalanced classes, rounded up.

``kinds``      what each of them is, given its parts
``factors``    inverses of Gram matrices, of which most are made
``grams``      Gram matrices of weighted rows, as the rows come
``plan``       which kind, from how many rows, by what a whole fit costs
``scheduled``  a metric with the time at which it is to be made anew, as solvers get it
``curvature``  makes them: plans, samples, adds up and factors
``quadratic``  the same for an L1 penalty, whose solver needs products and not inverses
``small``      the whole Hessian of small problems, and what bounds F - F*
"""
