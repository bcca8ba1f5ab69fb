"""Coordinate descent among the coefficients that are in use, with rows' residuals kept up to date.

A coordinate is a class and a feature. It costs one column of X, dense or sparse, whatever there are of other columns.
"""

from functools import lru_cache

import numpy as np

from .elementary import EXACT, exp, log1p_float64, log_float64
from .jit import jit, jit_part
from .softmax import _SUM

# These kernels copy slices, for which numba allocates where they might overlap: hence _nrt=True.

_TRAIL = 5  # sweeps to extrapolate from
_CONSTANT = 1e-12  # share of a column's curvature that centring leaves at the least
_ROUNDING = 1e-12  # share by which sums of what lies on a bound may be off it


# ------------------------------------------------------------------------------------------------------------ columns
# Dense ones are ``(X,)`` with X (n_columns, n_samples); sparse ones ``(data, indices, indptr, factor)``, the CSC format
# and what each column is multiplied by. Indices of rows are not negative; numba would look whether they are.


@jit_part(fastmath=_SUM)
def _dense_dot(columns, j, v):
    x, total = columns[0][j], 0.0
    for i in range(len(v)):
        total += x[i] * v[i]
    return total


@jit_part(fastmath=_SUM)
def _dense_square(columns, j, v):
    """The sums of a column's squares and of itself, by weights."""
    x, total, first = columns[0][j], 0.0, 0.0
    for i in range(len(v)):
        total += x[i] * x[i] * v[i]
        first += x[i] * v[i]
    return total, first


@jit_part(fastmath=EXACT)
def _dense_add(columns, j, change, v):
    x = columns[0][j]
    for i in range(len(v)):
        v[i] += change * x[i]


@jit_part(fastmath=EXACT)
def _dense_move(columns, j, change, curvature, scores, residual):
    x = columns[0][j]
    for i in range(len(scores)):
        step = change * x[i]
        scores[i] += step
        residual[i] += step * curvature[i]


@jit_part(fastmath=_SUM)
def _sparse_dot(columns, j, v):
    data, indices, indptr, factor = columns
    total = 0.0
    for q in range(indptr[j], indptr[j + 1]):
        total += data[q] * v[np.uintp(indices[q])]
    return total * factor[j]


@jit_part(fastmath=_SUM)
def _sparse_square(columns, j, v):
    data, indices, indptr, factor = columns
    total, first = 0.0, 0.0
    for q in range(indptr[j], indptr[j + 1]):
        x, by = np.float64(data[q]), v[np.uintp(indices[q])]
        total += x * x * by
        first += x * by
    return total * factor[j] * factor[j], first * factor[j]


@jit_part(fastmath=EXACT)
def _sparse_add(columns, j, change, v):
    data, indices, indptr, factor = columns
    change *= factor[j]
    for q in range(indptr[j], indptr[j + 1]):
        v[np.uintp(indices[q])] += change * data[q]


@jit_part(fastmath=EXACT)
def _sparse_move(columns, j, change, curvature, scores, residual):
    data, indices, indptr, factor = columns
    change *= factor[j]
    for q in range(indptr[j], indptr[j + 1]):
        i = np.uintp(indices[q])
        step = change * data[q]
        scores[i] += step
        residual[i] += step * curvature[i]


@jit_part(fastmath=EXACT)
def _dense_move_all(columns, j, change, by_weight, proba, moved, mean, current, total):
    x = columns[0][j]
    for i in range(len(x)):
        total[i] = 0.0
    for k in range(len(change)):
        p = proba[k]
        for i in range(len(x)):
            total[i] += change[k] * p[i]
    for i in range(len(x)):
        total[i] *= x[i]
        mean[i] += total[i]
    for k in range(len(change)):
        d, q, r = moved[k], by_weight[k], current[k]
        for i in range(len(x)):
            step = change[k] * x[i]
            d[i] += step
            r[i] += q[i] * (step - total[i])


@jit_part(fastmath=EXACT)
def _sparse_move_all(columns, j, change, by_weight, proba, moved, mean, current, total):
    data, indices, indptr, factor = columns
    for e in range(indptr[j], indptr[j + 1]):
        i = np.uintp(indices[e])
        x, average = factor[j] * data[e], 0.0
        for k in range(len(change)):
            average += change[k] * proba[k, i]
        mean[i] += x * average
        for k in range(len(change)):
            moved[k, i] += x * change[k]
            current[k, i] += by_weight[k, i] * x * (change[k] - average)


@jit_part(fastmath=_SUM)
def _dots_of_four(columns, slots, a, v, dots_out):
    """The products of four columns with a vector, which is read once."""
    x = columns[0]
    b, c, d, e = x[slots[a]], x[slots[a + 1]], x[slots[a + 2]], x[slots[a + 3]]
    of_b, of_c, of_d, of_e = 0.0, 0.0, 0.0, 0.0
    for i in range(len(v)):
        of_b += b[i] * v[i]
        of_c += c[i] * v[i]
        of_d += d[i] * v[i]
        of_e += e[i] * v[i]
    dots_out[0], dots_out[1], dots_out[2], dots_out[3] = of_b, of_c, of_d, of_e


@jit_part(fastmath=EXACT)
def _move_four(columns, slots, a, change, curvature, scores, residual):
    x = columns[0]
    b, c, d, e = x[slots[a]], x[slots[a + 1]], x[slots[a + 2]], x[slots[a + 3]]
    of_b, of_c, of_d, of_e = change[0], change[1], change[2], change[3]
    for i in range(len(scores)):
        step = (of_b * b[i] + of_c * c[i]) + (of_d * d[i] + of_e * e[i])
        scores[i] += step
        residual[i] += step * curvature[i]


@jit_part(fastmath=_SUM)
def _squares_of_four(columns, slots, a, v, squares_out, sums_out, nearby_out):
    """As `_dense_square` of four columns, and their products with those of them that come before."""
    x = columns[0]
    b, c, d, e = x[slots[a]], x[slots[a + 1]], x[slots[a + 2]], x[slots[a + 3]]
    bb, cb, cc, db, dc, dd, eb, ec, ed, ee = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    of_b, of_c, of_d, of_e = 0.0, 0.0, 0.0, 0.0
    for i in range(len(v)):
        by_b, by_c, by_d, by_e = v[i] * b[i], v[i] * c[i], v[i] * d[i], v[i] * e[i]
        of_b += by_b
        of_c += by_c
        of_d += by_d
        of_e += by_e
        bb += by_b * b[i]
        cb += by_b * c[i]
        cc += by_c * c[i]
        db += by_b * d[i]
        dc += by_c * d[i]
        dd += by_d * d[i]
        eb += by_b * e[i]
        ec += by_c * e[i]
        ed += by_d * e[i]
        ee += by_e * e[i]
    squares_out[a], squares_out[a + 1], squares_out[a + 2], squares_out[a + 3] = bb, cc, dd, ee
    sums_out[a], sums_out[a + 1], sums_out[a + 2], sums_out[a + 3] = of_b, of_c, of_d, of_e
    nearby_out[a + 1, 0] = cb
    nearby_out[a + 2, 0], nearby_out[a + 2, 1] = db, dc
    nearby_out[a + 3, 0], nearby_out[a + 3, 1], nearby_out[a + 3, 2] = eb, ec, ed


@jit_part(fastmath=EXACT)
def _rests(a, threshold, coef, everywhere):
    """Whether a sweep leaves a coordinate out."""
    return coef[a] == 0.0 and not everywhere and threshold[a] > 0.0


@jit_part(fastmath=EXACT)
def _to_minimum(a, slope, curvature, average, threshold, ridge, hold, origin, low, high, coef):
    """Take one coordinate to its minimum, with the derivative of the loss there; by how much that gains.

    The intercept of its class goes along, to where it is best: what is left of the curvature is that of a centred
    column. Of a constant one that is nothing but rounding.
    """
    centred = max(curvature[a] - average * average, _CONSTANT * curvature[a])
    old, stiffness = coef[a], centred + ridge[a] + hold[a]
    if not stiffness > 0.0:
        return 0.0
    slope += ridge[a] * old + hold[a] * (old - origin[a])
    best = old - slope / stiffness
    new = max(abs(best) - threshold[a] / stiffness, 0.0)
    new = -new if best < 0.0 else new
    new = min(max(new, low[a]), high[a])
    change = new - old
    if change == 0.0:
        return 0.0
    coef[a] = new
    return -change * (slope + stiffness * change / 2) - threshold[a] * (abs(new) - abs(old))


_DENSE = _dense_dot, _dense_square, _dense_add, _dense_move, _dense_move_all
_SPARSE = _sparse_dot, _sparse_square, _sparse_add, _sparse_move, _sparse_move_all


# --------------------------------------------------------------------------------------------------------------- rows


@jit_part(fastmath=_SUM)
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@jit_part(fastmath=_SUM)
def _residual(base, by_weight, moved, mean, current):
    """The residual of one class where scores have changed, into ``current``, and its sum."""
    total = 0.0
    for i in range(len(current)):
        r = base[i] + by_weight[i] * (moved[i] - mean[i])
        current[i] = r
        total += r
    return total


@jit(fastmath=EXACT, _nrt=True)
def row_states(scores, target, weight, proba_out, residual_out, loss_out, work):
    """Probabilities, residuals ``weight * (proba - target)`` and losses of rows at their scores.

    Parameters
    ----------
    scores, target : (n_outputs, n_samples) float64         # IN
    weight : (n_samples,) float64                           # IN
    proba_out, residual_out : (n_outputs, n_samples)        # OUT
    loss_out : (n_samples,) float64                         # OUT not weighted
    work : (2, n_samples) float64                           # workspace

    Returns
    -------
    float, the sum of the losses by weight
    """
    n_outputs, n = scores.shape
    if n_outputs == 1:
        z, y, p = scores[0], target[0], proba_out[0]
        for i in range(n):
            e = exp(-abs(z[i]))
            p[i] = (1.0 if z[i] >= 0.0 else e) / (1.0 + e)
            residual_out[0, i] = weight[i] * (p[i] - y[i])
            loss_out[i] = max(z[i], 0.0) - y[i] * z[i] + log1p_float64(e)
    else:
        largest, total = work[0], work[1]
        for i in range(n):
            largest[i] = scores[0, i]
            total[i] = 0.0
        for k in range(1, n_outputs):
            z = scores[k]
            for i in range(n):
                largest[i] = largest[i] if z[i] <= largest[i] else z[i]
        for k in range(n_outputs):
            z, p = scores[k], proba_out[k]
            for i in range(n):
                p[i] = exp(z[i] - largest[i])
                total[i] += p[i]
        for i in range(n):
            loss_out[i] = log_float64(total[i])
            total[i] = 1.0 / total[i]
        for k in range(n_outputs):
            z, p, y, r = scores[k], proba_out[k], target[k], residual_out[k]
            for i in range(n):
                p[i] *= total[i]
                r[i] = weight[i] * (p[i] - y[i])
                loss_out[i] += y[i] * (largest[i] - z[i])
    return _dot(weight, loss_out)


@jit(fastmath=EXACT, _nrt=True)
def divergence(share, target, proba, weight, loss, work):
    """Bound the sum over rows of ``weight * KL(alpha || proba)`` with alpha = proba + share (target - proba).

    By convexity it is at most ``share`` times that of the target, which is at most the loss; and at most the divergence
    chi-squared, which has the square of ``share``.

    Parameters
    ----------
    target, proba : (n_outputs, n_samples) float64          # IN
    weight, loss : (n_samples,) float64                     # IN
    work : (n_samples,) float64                             # workspace
    """
    n_outputs, n = target.shape
    for i in range(n):
        work[i] = 0.0
    for k in range(n_outputs):
        y, p = target[k], proba[k]
        for i in range(n):
            apart = y[i] - p[i]
            rest = p[i] if n_outputs > 1 else p[i] * (1.0 - p[i])
            work[i] += apart * apart / (rest + 1e-300)
    for i in range(n):
        work[i] = min(share * loss[i], share * share * work[i])
    return _dot(weight, work)


@jit(fastmath=EXACT, _nrt=True)
def curvatures(proba, weight, by_weight_out, spread_out):
    """What a quadratic model takes of the rows: ``weight * proba``, and that times ``1 - proba``.

    Parameters
    ----------
    proba : (n_outputs, n_samples) float64                  # IN
    weight : (n_samples,) float64                           # IN
    by_weight_out, spread_out : (n_outputs, n_samples)      # OUT
    """
    for k in range(len(proba)):
        p, q, s = proba[k], by_weight_out[k], spread_out[k]
        for i in range(len(p)):
            q[i] = p[i] * weight[i]
            s[i] = q[i] * (1.0 - p[i])


@jit(fastmath=EXACT, _nrt=True)
def sparse_gradient(columns, residual, start, stop, is_grouped, grad_out, steepest_out):
    """The product of some columns, sparse as above, with the residuals of the rows.

    Parameters
    ----------
    residual : (n_samples, n_outputs) float64               # IN
    start, stop : intp                                      # IN
    is_grouped : bool                                       # IN
    grad_out : (n_columns, n_outputs) float64               # OUT
    steepest_out : (n_columns,) float64                     # OUT the largest size of each column's, or their norm
    """
    data, indices, indptr, factor = columns
    for j in range(start, stop):
        g, square, most = grad_out[j], 0.0, 0.0
        for k in range(len(g)):
            g[k] = 0.0
        for q in range(indptr[j], indptr[j + 1]):
            x, r = data[q], residual[np.uintp(indices[q])]
            for k in range(len(g)):
                g[k] += x * r[k]
        for k in range(len(g)):
            g[k] *= factor[j]
            square += g[k] * g[k]
            most = max(most, abs(g[k]))
        steepest_out[j] = np.sqrt(square) if is_grouped else most


@lru_cache
def kernels(sparse, grouped):
    """``add_scores``, ``prepare`` and ``descend`` for columns of one kind, going by coordinate or by group."""
    dot, square, add, move, move_all = _SPARSE if sparse else _DENSE
    by_fours = not (sparse or grouped)

    @jit(fastmath=EXACT, _nrt=True)
    def add_scores(columns, slots, classes, change, scores_out):
        """Add to scores what changes of coefficients make of them."""
        for a in range(len(slots)):
            if change[a] != 0.0:
                add(columns, slots[a], change[a], scores_out[classes[a]])

    @jit(fastmath=EXACT, _nrt=True)
    def prepare(
        columns, slots, classes, residual, curvature, start, stop, grad_out, curvature_out, sums_out, nearby_out
    ):  # fmt: skip
        """Derivatives by coordinates, first and second.

        columns : as above                                  # IN
        slots, classes : (n_coordinates,) intp              # IN column and class of each
        residual, curvature : (n_outputs, n_samples)        # IN
        start, stop : intp                                  # IN both where fours begin, counted from their class's
        grad_out, curvature_out, sums_out : (n_coordinates,) float64  # OUT the last: columns by ``curvature``
        nearby_out : (n_coordinates, 3) float64             # OUT second derivatives by a coordinate and those before it
            in its four, of dense columns that go by coordinate
        """
        for a in range(start, stop):
            grad_out[a] = dot(columns, slots[a], residual[classes[a]])
            curvature_out[a], sums_out[a] = square(columns, slots[a], curvature[classes[a]])

    @jit(fastmath=EXACT, _nrt=True)
    def prepare_fours(
        columns, slots, classes, residual, curvature, start, stop, grad_out, curvature_out, sums_out, nearby_out
    ):  # fmt: skip
        """As `prepare`, of four columns at a time."""
        a = start
        while a < stop:
            k, n = classes[a], 1
            if a + 4 <= stop and classes[a + 3] == k:
                n = 4
                _dots_of_four(columns, slots, a, residual[k], grad_out[a : a + 4])
                _squares_of_four(columns, slots, a, curvature[k], curvature_out, sums_out, nearby_out)
            else:
                args = grad_out, curvature_out, sums_out, nearby_out
                prepare(columns, slots, classes, residual, curvature, a, a + 1, *args)
            a += n

    @jit_part(fastmath=EXACT, _nrt=True)
    def one_by_one(
        columns, slots, start, stop, curvature, sums, nearby, threshold, ridge, hold, origin, low, high, own,
        root, level, everywhere, coef, scores, current, four,
    ):  # fmt: skip
        """Coordinates of one class to their minima, one after the other, with its intercept.

        The intercept's step is not made at once: divided by ``root``, which is one over the root of the intercept's
        second derivative, it is the ``level``.

        Returns by how much that gains, and the level.
        """
        gained = 0.0
        for a in range(start, stop):
            if _rests(a, threshold, coef, everywhere):
                continue
            old, average = coef[a], root * sums[a]
            slope = dot(columns, slots[a], current) + level * average
            gained += _to_minimum(a, slope, curvature, average, threshold, ridge, hold, origin, low, high, coef)
            if coef[a] != old:
                level -= (coef[a] - old) * average
                move(columns, slots[a], coef[a] - old, own, scores, current)
        return gained, level

    @jit_part(fastmath=EXACT, _nrt=True)
    def four_by_four(
        columns, slots, start, stop, curvature, sums, nearby, threshold, ridge, hold, origin, low, high, own,
        root, level, everywhere, coef, scores, current, four,
    ):  # fmt: skip
        """As `one_by_one`, to the same minima; but what four columns have to do with the rows is done at once."""
        slope, change, gained, a = four[0], four[1], 0.0, start
        while a + 4 <= stop:
            at_rest = True
            for b in range(a, a + 4):
                at_rest = at_rest and _rests(b, threshold, coef, everywhere)
            if not at_rest:
                _dots_of_four(columns, slots, a, current, slope)
                moves = False
                for q in range(4):
                    b, change[q] = a + q, 0.0
                    if _rests(b, threshold, coef, everywhere):
                        continue
                    old, average = coef[b], root * sums[b]
                    slope[q] += level * average
                    for r in range(q):
                        slope[q] += nearby[b, r] * change[r]
                    args = threshold, ridge, hold, origin, low, high, coef
                    gained += _to_minimum(b, slope[q], curvature, average, *args)
                    change[q] = coef[b] - old
                    level -= change[q] * average
                    moves = moves or change[q] != 0.0
                if moves:
                    _move_four(columns, slots, a, change, own, scores, current)
            a += 4
        more, level = one_by_one(
            columns, slots, a, stop, curvature, sums, nearby, threshold, ridge, hold, origin, low, high, own,
            root, level, everywhere, coef, scores, current, four,
        )  # fmt: skip
        return gained + more, level

    go_over = four_by_four if by_fours else one_by_one

    @jit_part(fastmath=EXACT, _nrt=True)
    def sweep(
        columns, slots, ends, curvature, sums, nearby, threshold, ridge, hold, origin, low, high,
        residual, spread, by_weight, proba, mass, everywhere,
        coef, shift, moved, mean, work, four,
    ):  # fmt: skip
        """One coordinate after the other to its minimum, once around; by how much that gains.

        The arguments are those of `descend`.
        """
        n_outputs, n = residual.shape
        current, scores = work[0], work[1]
        gained = 0.0
        for k in range(n_outputs):
            if ends[k + 1] == ends[k] and not mass[k] > 0.0:
                continue
            d, own, p, step = moved[k], spread[k], proba[k], 0.0
            slope = _residual(residual[k], by_weight[k], d, mean, current)
            if mass[k] > 0.0:
                step = -slope / mass[k]
                shift[k] += step
                gained -= step * slope / 2
            for i in range(n):
                scores[i] = step
                current[i] += step * own[i]
            root = 1.0 / np.sqrt(mass[k]) if mass[k] > 0.0 else 0.0
            more, level = go_over(
                columns, slots, ends[k], ends[k + 1], curvature, sums, nearby, threshold, ridge, hold, origin, low,
                high, own, root, 0.0, everywhere, coef, scores, current, four,
            )  # fmt: skip
            gained += more
            step = root * level
            shift[k] += step
            for i in range(n):
                scores[i] += step
                d[i] += scores[i]
                mean[i] += p[i] * scores[i]
        return gained

    @jit_part(fastmath=EXACT, _nrt=True)
    def sweep_groups(
        columns, slots, curvature, threshold, ridge, hold, origin, residual, spread, by_weight, proba,
        mass, everywhere, n_groups, coef, shift, moved, mean, work, current, steps,
    ):  # fmt: skip
        """As `sweep`, by one feature after the other, all classes at once, with the norm of its coefficients.

        By a step along the gradient, as long as twice the largest second derivative allows (by S. Gershgorin's theorem,
        rows of diag(p) - p p' have absolute sums 2 p (1 - p)), with the norm's proximal operator.
        """
        n_outputs, n = residual.shape
        gained = 0.0
        for k in range(n_outputs):
            d, p = moved[k], proba[k]
            if mass[k] > 0.0:
                slope = _residual(residual[k], by_weight[k], d, mean, current[k])
                step = -slope / mass[k]
                shift[k] += step
                gained -= step * slope / 2
                for i in range(n):
                    d[i] += step
                    mean[i] += step * p[i]
        for k in range(n_outputs):
            _residual(residual[k], by_weight[k], moved[k], mean, current[k])
        slope, change = steps[0], steps[1]
        for j in range(n_groups):
            before, stiffness = 0.0, 0.0
            for k in range(n_outputs):
                a = k * n_groups + j
                before += coef[a] * coef[a]
                stiffness = max(stiffness, 2 * curvature[a] + ridge[a] + hold[a])
            if (before == 0.0 and not everywhere and threshold[j] > 0.0) or not stiffness > 0.0:
                continue
            before, after = np.sqrt(before), 0.0
            for k in range(n_outputs):
                a = k * n_groups + j
                slope[k] = dot(columns, slots[a], current[k]) + ridge[a] * coef[a] + hold[a] * (coef[a] - origin[a])
                change[k] = coef[a] - slope[k] / stiffness
                after += change[k] * change[k]
            after = np.sqrt(after)
            share = 1.0 - threshold[j] / (stiffness * after) if stiffness * after > threshold[j] else 0.0
            after *= share
            moves = False
            for k in range(n_outputs):
                a = k * n_groups + j
                new = share * change[k]
                change[k] = new - coef[a]
                coef[a] = new
                gained -= change[k] * (slope[k] + stiffness * change[k] / 2)
                moves = moves or change[k] != 0.0
            gained -= threshold[j] * (after - before)
            if moves:
                move_all(columns, slots[j], change, by_weight, proba, moved, mean, current, work[0])
        return gained

    @jit_part(fastmath=_SUM)
    def value(threshold, ridge, hold, origin, residual, by_weight, n_groups, coef, moved, mean):
        """The model's value at a step, less that at none but for what no coordinate changes."""
        total = 0.0
        for k in range(residual.shape[0]):
            r, q, d = residual[k], by_weight[k], moved[k]
            for i in range(len(d)):
                total += d[i] * (r[i] + q[i] * (d[i] - mean[i]) / 2)
        for a in range(len(coef)):
            away = coef[a] - origin[a]
            total += ridge[a] * coef[a] * coef[a] / 2 + hold[a] * away * away / 2
            if n_groups == 0:
                total += threshold[a] * abs(coef[a])
        for j in range(n_groups):
            square = 0.0
            for a in range(j, len(coef), n_groups):
                square += coef[a] * coef[a]
            total += threshold[j] * np.sqrt(square)
        return total

    @jit_part(fastmath=EXACT, _nrt=True)
    def extrapolate(
        columns, slots, ends, threshold, ridge, hold, origin, low, high, residual, by_weight, proba, n_groups,
        coef, shift, moved, mean, coefs, shifts, spare, gram, share,
    ):  # fmt: skip
        """Go to where the last sweeps seem to lead, if that is further down; by how much."""
        n, size, n_outputs = gram.shape[0], len(coef), len(proba)
        largest = 0.0
        for q in range(n):
            for r in range(q + 1):
                total = 0.0
                for a in range(size):
                    total += (coefs[q + 1, a] - coefs[q, a]) * (coefs[r + 1, a] - coefs[r, a])
                gram[q, r] = gram[r, q] = total
            largest = max(largest, gram[q, q])
        if not largest > 0.0:
            return 0.0
        for q in range(n):
            gram[q, q] += 1e-10 * largest
            share[q] = 1.0
        for q in range(n):  # by elimination: it is positive definite
            for r in range(q + 1, n):
                ratio = gram[r, q] / gram[q, q]
                for c in range(q, n):
                    gram[r, c] -= ratio * gram[q, c]
                share[r] -= ratio * share[q]
        for q in range(n - 1, -1, -1):
            for c in range(q + 1, n):
                share[q] -= gram[q, c] * share[c]
            share[q] /= gram[q, q]
        total = 0.0
        for q in range(n):
            total += share[q]
        before = value(threshold, ridge, hold, origin, residual, by_weight, n_groups, coef, moved, mean)
        # the first of the trail is used no more, and holds what is found
        found, found_shift, average = coefs[0], shifts[0], spare[n_outputs]
        found[:] = 0.0
        found_shift[:] = 0.0
        for q in range(n):
            part = share[q] / total
            for a in range(size):
                found[a] += part * coefs[q + 1, a]
            for k in range(n_outputs):
                found_shift[k] += part * shifts[q + 1, k]
        average[:] = 0.0
        for k in range(n_outputs):
            d, p = spare[k], proba[k]
            d[:] = moved[k]
            for i in range(len(d)):
                d[i] += found_shift[k] - shift[k]
            for a in range(ends[k], ends[k + 1]):
                if not low[a] <= found[a] <= high[a]:
                    end = min(max(found[a], low[a]), high[a])
                    if not abs(found[a] - end) <= _ROUNDING * abs(end):
                        return 0.0
                    found[a] = end
                if found[a] != coef[a]:
                    add(columns, slots[a], found[a] - coef[a], d)
            for i in range(len(d)):
                average[i] += p[i] * d[i]
        gained = before - value(threshold, ridge, hold, origin, residual, by_weight, n_groups, found, spare, average)
        if not gained > 0.0:
            return 0.0
        coef[:] = found
        shift[:] = found_shift
        for k in range(n_outputs):
            moved[k, :] = spare[k]
        mean[:] = average
        return gained

    @jit_part(fastmath=EXACT, _nrt=True)
    def round_of_groups(
        columns, slots, ends, curvature, sums, nearby, threshold, ridge, hold, origin, low, high, residual, spread,
        by_weight, proba, mass, everywhere, n_groups, coef, shift, moved, mean, work, current, steps, four,
    ):  # fmt: skip
        """A sweep by group."""
        return sweep_groups(
            columns, slots, curvature, threshold, ridge, hold, origin, residual, spread, by_weight, proba,
            mass, everywhere, n_groups, coef, shift, moved, mean, work, current, steps,
        )  # fmt: skip

    @jit_part(fastmath=EXACT, _nrt=True)
    def round_of_coordinates(
        columns, slots, ends, curvature, sums, nearby, threshold, ridge, hold, origin, low, high, residual, spread,
        by_weight, proba, mass, everywhere, n_groups, coef, shift, moved, mean, work, current, steps, four,
    ):  # fmt: skip
        """A sweep by coordinate."""
        return sweep(
            columns, slots, ends, curvature, sums, nearby, threshold, ridge, hold, origin, low, high, residual, spread,
            by_weight, proba, mass, everywhere, coef, shift, moved, mean, work, four,
        )  # fmt: skip

    one_round = round_of_groups if grouped else round_of_coordinates  # to compile both takes half as long again

    @jit(fastmath=EXACT, _nrt=True)
    def descend(
        columns, slots, ends, curvature, sums, nearby, threshold, ridge, hold, origin, low, high,
        residual, spread, by_weight, proba, mass, accuracy, enough, max_sweeps, n_groups,
        coef, shift, moved, mean, work, current, steps, four, coefs, shifts, spare, gram, share, gained_out,
    ):  # fmt: skip
        """Go down in the quadratic model of the loss around a point, plus the penalties, over some coordinates.

        columns : as above                                              # IN
        slots : (n_coordinates,) intp                                   # IN their columns, class by class
        ends : (n_outputs + 1,) intp                                    # IN where classes begin, and end
        curvature, threshold, ridge, hold, origin, low, high : (n_coordinates,) float64     # IN
            second derivatives; strengths of the L1 and the L2 penalty; what holds a coefficient to its origin; bounds
        sums : (n_coordinates,), nearby : (n_coordinates, 3) float64    # IN of `prepare`
        residual, spread, by_weight, proba : (n_outputs, n_samples)     # IN with weight w and probabilities p:
            w (p - y), w p (1 - p), w p, p
        mass : (n_outputs,) float64                                     # IN the sums of ``spread``, zero without
            intercepts
        accuracy, enough : float64                                      # IN it ends where a sweep gains less than
            this share of all that was gained, or less than ``enough``
        max_sweeps : intp                                               # IN
        n_groups : intp                                                 # IN features whose coefficients, one a class,
            have a norm as penalty: each class has the same ones then. Zero where the penalty is by coefficient
        coef : (n_coordinates,) float64                                 # IN, OUT
        shift : (n_outputs,) float64                                    # IN, OUT steps of the intercepts
        moved : (n_outputs, n_samples), mean : (n_samples,)             # IN, OUT change of scores, its mean by p
        current : (n_outputs, n_samples), steps : (2, n_outputs)        # workspace, where there are groups
        four : (2, 4), work : (2, n_samples), coefs : (6, n_coordinates), shifts : (6, n_outputs),
        spare : (n_outputs + 1, n_samples), gram : (5, 5), share : (5,) # workspace
        gained_out : (1,) float64                                       # IN, OUT all that was gained

        Returns whether it has ended by itself, and the number of sweeps.
        """
        n_sweeps = 0
        while n_sweeps < max_sweeps:
            gained = one_round(
                columns, slots, ends, curvature, sums, nearby, threshold, ridge, hold, origin, low, high, residual,
                spread, by_weight, proba, mass, True, n_groups, coef, shift, moved, mean, work, current, steps, four,
            )  # fmt: skip
            gained_out[0] += gained
            n_sweeps += 1
            if not gained > max(accuracy * gained_out[0], enough):
                return True, n_sweeps
            place = 0
            coefs[0, :] = coef
            shifts[0, :] = shift
            while n_sweeps < max_sweeps:
                gained = one_round(
                    columns, slots, ends, curvature, sums, nearby, threshold, ridge, hold, origin, low, high, residual,
                    spread, by_weight, proba, mass, False, n_groups, coef, shift, moved, mean, work, current, steps,
                    four,
                )  # fmt: skip
                n_sweeps += 1
                place += 1
                coefs[place, :] = coef
                shifts[place, :] = shift
                if place == _TRAIL:
                    gained += extrapolate(
                        columns, slots, ends, threshold, ridge, hold, origin, low, high, residual, by_weight, proba,
                        n_groups, coef, shift, moved, mean, coefs, shifts, spare, gram, share,
                    )  # fmt: skip
                    place = 0
                    coefs[0, :] = coef
                    shifts[0, :] = shift
                gained_out[0] += gained
                if not gained > max(accuracy * gained_out[0], enough):
                    break
        return False, n_sweeps

    return add_scores, prepare_fours if by_fours else prepare, descend
