"""A fit of several sites that keep their rows: they send sums, and the result is that of all rows together.

Each site has a `Shard`, which answers questions by sums over its rows: how many there are by class, their moments, the
loss and its gradient at a point, Gram matrices. Here sites are objects, and a call is a call; elsewhere it is a request
to a server, an actor's method, or a task on an engine: whatever brings back arrays. What sums give away of single rows
is for the sites to judge.
"""

import numpy as np
from sklearn.datasets import load_digits

from softmax_clf import SoftmaxRegressionClassifier
from softmax_clf.sums import Shard, combine, fit_sums

X, y = load_digits(return_X_y=True)
classes = np.arange(10)  # all sites know them, though a site may have rows of some only
n_requests, n_values = 0, 0

sites = []
for rows in (y < 3, (y >= 3) & (y < 8), y >= 8):
    sites.append(Shard(X[rows], y[rows], classes))


def total(name, *args):
    """Ask all sites, and add up what they answer."""
    global n_requests, n_values
    answers = [getattr(site, name)(*args) for site in sites]  # the one line that an engine has in its own way
    n_requests += 1
    n_values += sum(part.size for part in answers[0])
    return combine(name, answers)


federated = fit_sums(SoftmaxRegressionClassifier(C=0.01, tol=1e-12), total, classes)
pooled = SoftmaxRegressionClassifier(C=0.01, tol=1e-12).fit(X, y)

apart = np.abs(federated.coef_ - pooled.coef_).max()
print(f"{len(sites)} sites of {[site.n_rows for site in sites]} rows")
print(f"{n_requests} requests, in all answered by {n_values:,} values from each site")
print(f"coefficients are within {apart:.1e} of those of a fit to all rows; accuracy {pooled.score(X, y):.3f}")
assert apart < 1e-6
