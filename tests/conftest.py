"""Settings that hold for every test."""

from hypothesis import settings

# No deadline: the first call of a kernel compiles it. Derandomised: a failure on one machine is a failure on all.
settings.register_profile("softmax_clf", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("softmax_clf")
