"""Callbacks of scikit-learn, which has them since 1.9: a fit is a task, and what it repeats are tasks within it."""

from contextlib import contextmanager

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """In its place, empty: an estimator without ``set_callbacks`` has no callbacks."""


class Task:
    """A part of a fit that callbacks are told of, when it begins, which is now, and when it ends.

    Parameters
    ----------
    estimator : estimator that is fitted
    context : sklearn.callback.CallbackContext, or None
        None where nobody is to be told.
    data : dict
        ``X``, ``y`` and ``metadata``, for the callbacks that ask for them.
    """

    def __init__(self, estimator, context=None, data=None):
        self.estimator, self.context, self.data = estimator, context, data
        if context is not None:
            context.call_on_fit_task_begin(estimator=estimator, **data)

    @classmethod
    def of_fit(cls, estimator, n_subtasks, X, y, **metadata):
        """The whole of a fit, of as many subtasks at most."""
        if not hasattr(estimator, "_init_callback_context"):
            return cls(estimator)
        given = {name: value for name, value in metadata.items() if value is not None}
        context = estimator._init_callback_context(max_subtasks=n_subtasks)
        return cls(estimator, context, {"X": X, "y": y, "metadata": given or None})

    def subtask(self, name, n_subtasks=0):
        """The next task within this one, of as many subtasks at most."""
        if self.context is None:
            return self
        return Task(self.estimator, self.context.subcontext(name, max_subtasks=n_subtasks), self.data)

    @contextmanager
    def fit_of(self, name, estimator):
        """The next task within this one, in which another estimator is fitted: callbacks that want to go with it."""
        if self.context is None:
            yield
            return
        context = self.context.subcontext(name)
        with context.propagate_callback_context(estimator):
            task = Task(self.estimator, context, self.data)
            yield
            task.end()

    def end(self, fitted=None):
        """Tell that this task has ended.

        Parameters
        ----------
        fitted : callable, or None
            Returns the attributes that the estimator would have, were this the end of the fit.

        Returns
        -------
        stop : bool
            Whether a callback asks that the tasks after this one be left out.
        """
        if self.context is None:
            return False
        return self.context.call_on_fit_task_end(
            estimator=self.estimator, reconstruction_attributes=fitted, **self.data
        )
