"""The pool of threads that runs kernels over blocks of rows, how wide it may be, and BLAS kept to one thread.

Kernels are serial and release the GIL. numba's own threads are not used: which threading layer they are depends on the
machine, two of the three die of a fork or of a second Python thread, and the choice is the process's, not a library's:
docs/traps.md.
"""

import contextlib
import functools
import itertools
import multiprocessing
import numbers
import os
import sys
import threading

# All of them bound now, so that they belong together: gevent replaces the modules' own whenever it is told to, and a
# thread of one kind that waits for a queue of the other waits for good. That is why threads are started at this level.
from _thread import start_new_thread
from contextvars import copy_context
from queue import SimpleQueue
from threading import Lock, RLock, current_thread, get_ident

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController

# ---------------------------------------------------------------------------------------------------------------------
# How many threads


def effective_n_threads(n_jobs=None):
    """Return the number of threads that `n_jobs` stands for, here and now.

    Parameters
    ----------
    n_jobs : int or None, default=None
        None: the cores that this process may use (affinity, container quota), or fewer where NUMBA_NUM_THREADS or
        OMP_NUM_THREADS say so, as schedulers set them for their workers; of them the share that joblib leaves here:
        inside a worker of `joblib.Parallel`, or under `joblib.parallel_config(n_jobs=...)`. 1: serial. -1: the cores
        that this process may use, whatever the environment and joblib say; -2: all but one of them. A positive number
        is taken as it is.

    Returns
    -------
    n_threads : int
        At least 1.
    """
    if n_jobs is None:
        return _joblib_share(min([_n_cores(), *_environment_limits()]))
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, numbers.Integral):
        raise TypeError(f"Expected n_jobs to be None or an integer, got {n_jobs!r}. Remedy: -1 is all, 1 is serial.")
    if n_jobs == 0:
        raise ValueError("Expected n_jobs to be None or an integer other than zero, got 0. Remedy: 1 is serial.")
    return int(n_jobs) if n_jobs > 0 else max(_n_cores() + 1 + int(n_jobs), 1)


def _n_cores():
    """Count the cores that this process may use."""
    # joblib reads the container's quota from a file at each call, 50 us. Of what it looks at, these two can change.
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return _joblib_cpu_count(affinity, os.environ.get("LOKY_MAX_CPU_COUNT"))


@functools.cache
def _joblib_cpu_count(affinity, loky_max_cpu_count):
    return joblib.cpu_count()


def _environment_limits():
    """Numbers of threads that environment variables leave to each process; what is no positive number sets none."""
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        outermost = os.environ.get(name, "").split(",")[0].strip()  # OpenMP: a number for each level of nesting
        if outermost.isdecimal() and int(outermost) > 0:
            yield int(outermost)


def _joblib_share(n_cores):
    """Return how many of the cores joblib leaves to the caller."""
    backend, n_jobs = get_active_backend()
    if not backend.nesting_level:  # not in a worker; n_jobs comes from parallel_config
        if n_jobs is None:
            return n_cores
        return max(min(n_cores, n_jobs if n_jobs > 0 else n_cores + 1 + n_jobs), 1)
    if multiprocessing.current_process().daemon:
        return 1  # the multiprocessing backend does not tell a worker how many there are
    # The loky backend has set environment variables to cpu_count // n_jobs or to inner_max_num_threads, the threading
    # backend sets nothing. Its workers are those of a multiprocessing.pool.ThreadPool, which have the pool's queue in
    # common; workers may have workers.
    thread = threading.current_thread()
    while hasattr(thread, "_parent") and getattr(thread, "_args", None):
        pool = thread._args[0]
        n_workers = sum((getattr(other, "_args", None) or (None,))[0] is pool for other in threading.enumerate())
        n_cores //= max(n_workers, 1)
        thread = thread._parent
    return max(n_cores, 1)


# ---------------------------------------------------------------------------------------------------------------------
# The pool


def run_tasks(task, n_tasks, n_threads):
    """Call ``task(index, slot)`` for each index in ``range(n_tasks)``, in threads.

    Indices are handed out in increasing order, to the calling thread and to those threads of the pool that are free.
    So a caller gets on by itself when all are busy: any number of Python threads may call this at once, tasks too.

    Parameters
    ----------
    task : callable
        ``task(index, slot)``. No two threads have the same slot during this call, so a workspace for each slot will
        do. It should release the GIL, and return within some 50 ms: Ctrl-C arrives between tasks.
    n_tasks : int
        Number of tasks.
    n_threads : int
        The most threads to use, and the number of slots.

    Raises
    ------
    BaseException
        What a task raised, and if several did the one with the lowest index, which is the one that a single thread
        would have met. It comes when every running task has ended; no further one is begun.
    """
    n_threads = min(n_threads, n_tasks)
    if n_threads <= 1:
        for index in range(n_tasks):
            task(index, 0)
        return
    crew = _Round(task, n_tasks)
    interrupt = None
    try:
        _pool.call(crew, n_threads - 1)
        crew.work(0)
    except BaseException as error:  # a signal handler's, outside of a task
        crew.fail(-1, error)
    finally:
        # A signal handler's exception may arrive here too, whichever it is: then all over again. No function of its
        # own, as it may arrive at a call, before the function's `try`; and no step that cannot be taken twice.
        while True:
            try:
                with crew.lock:
                    crew.stopped = True
                while crew.n_helpers:
                    crew.wake.get()
                crew.task = None  # a thread that comes late must not keep the caller's arrays alive
                break
            except BaseException as error:
                interrupt = error
    if interrupt is not None:
        crew.errors.insert(0, (-1, interrupt))
        interrupt = None
    if crew.errors:
        try:
            raise min(crew.errors, key=lambda pair: pair[0])[1]
        finally:
            crew.errors.clear()  # or the traceback and the caller's arrays would wait for the garbage collector


# Whether next() of an iterator is one step; a GIL that is there stays.
_HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


class _LockedCount:
    """As `itertools.count`, for an interpreter without the GIL."""

    def __init__(self):
        self.lock, self.index = Lock(), 0

    def __next__(self):
        with self.lock:
            index = self.index
            self.index += 1
        return index


def caller_in_this_context():
    """Return a function that calls another, from any thread, in the context that is here: with its `np.errstate`."""
    if np.__version__.startswith("1."):  # which keeps it by thread
        errstate = np.geterr()

        def call(function, *args):
            with np.errstate(**errstate):
                function(*args)

    else:
        context = copy_context()

        def call(function, *args):
            context.copy().run(function, *args)  # two threads cannot be in one

    return call


class _Round:
    """One call of `run_tasks`.

    Only threads of the pool change `n_helpers`: signal handlers do not run there, so the count cannot be cut short.

    Parameters
    ----------
    task, n_tasks
        As in `run_tasks`.
    """

    def __init__(self, task, n_tasks):
        self.task = task
        self.n_tasks = n_tasks
        self.indices = itertools.count() if _HAS_GIL else _LockedCount()
        self.call = caller_in_this_context()
        self.lock = Lock()  # of the three below
        self.stopped = False  # no more tasks are handed out, no more threads of the pool let in
        self.n_helpers = 0  # threads of the pool that were let in and have not left
        self.errors = []  # (index, exception)
        self.wake = SimpleQueue()  # tells the caller to look at `n_helpers` again

    def work(self, slot):
        """Run tasks until there are no more."""
        index = -1
        try:
            while not self.stopped:
                index = next(self.indices)
                if index >= self.n_tasks:
                    break
                self.task(index, slot)
        except BaseException as error:
            # A KeyboardInterrupt, SystemExit or the like is about the thread, not about its task.
            self.fail(index if isinstance(error, Exception) else -1, error)

    def fail(self, index, error):
        """Record an error and hand out no more tasks."""
        with self.lock:
            self.stopped = True
            self.errors.append((index, error))

    def help(self, slot):
        """Do the share of a thread of the pool, unless the caller is through."""
        with self.lock:
            if self.stopped:
                return
            self.n_helpers += 1
        try:
            self.call(self.work, slot)
        finally:
            with self.lock:
                self.n_helpers -= 1
            self.wake.put(None)


# Calls left over from short rounds cost a thread 1 us each to see that it is too late; calls to threads that another
# caller keeps busy add up.
_MAX_BACKLOG = 100


class _Pool:
    """Threads that wait for rounds to help with."""

    def __init__(self):
        self.calls = SimpleQueue()  # (round, slot)
        self.n_threads = 0
        self.lock = RLock()  # a signal handler may come between, and run tasks itself

    def call(self, crew, n_helpers):
        """Ask for `n_helpers` threads; fewer come when they are busy."""
        if self.n_threads < n_helpers:
            self._grow(n_helpers)
        for slot in range(1, n_helpers + 1):
            if self.calls.qsize() >= _MAX_BACKLOG * self.n_threads:
                break  # all are busy for long: do not pile up calls that nobody will answer in time
            self.calls.put((crew, slot))

    def _grow(self, n_threads):
        with self.lock, contextlib.suppress(RuntimeError):  # no more threads can be started: these must do
            while self.n_threads < n_threads:
                start_new_thread(self._serve, (f"softmax_clf-{self.n_threads}",))
                self.n_threads += 1

    def _serve(self, name):
        current_thread().name = name  # for debuggers: `threading` learns of this thread here
        while True:
            crew, slot = self.calls.get()
            crew.help(slot)
            del crew  # while waiting, hold nothing of the caller's


_pool = _Pool()


_PIECE = 1 << 16  # numbers: half of a core's cache


class Pieces:
    """A range in slices that the pool works on side by side: for arithmetic on arrays that are long.

    The slices, and so every sum over them, do not depend on the number of threads.

    Parameters
    ----------
    size : int
        End of the range.
    n_threads : int
    width : int
        Numbers that belong to each place of the range.
    """

    def __init__(self, size, n_threads, width=1):
        length = max(_PIECE // width, 1)
        self.slices = [slice(start, min(start + length, size)) for start in range(0, max(size, 1), length)]
        self.n_threads = n_threads

    def each(self, function):
        """Call ``function(piece)`` for every slice."""
        if len(self.slices) == 1:
            function(self.slices[0])
        else:
            run_tasks(lambda q, slot: function(self.slices[q]), len(self.slices), self.n_threads)

    def sum(self, function):
        """Add up what ``function(piece)`` returns, numbers or arrays, in the order of the slices."""
        if len(self.slices) == 1:
            return function(self.slices[0])
        parts = [0.0] * len(self.slices)

        def task(q, slot):
            parts[q] = function(self.slices[q])

        run_tasks(task, len(parts), self.n_threads)
        return sum(parts[1:], parts[0])


# ---------------------------------------------------------------------------------------------------------------------
# BLAS


# What signal handlers raise is past after one or two; what comes each time, as where the stack is at its limit, is not.
_ATTEMPTS = range(100)


@contextlib.contextmanager
def blas_on_one_thread():
    """Keep BLAS to one thread while in the context: its threads would come on top of the pool's.

    Of several users at a time, nested or in several Python threads, the last to leave restores what the first found.
    With most builds of BLAS the setting is the whole process's.

    An exception that a signal handler raises at the first instruction of a context's exit keeps any context from being
    left before the exception is forgotten. What runs for long, or fails where it is kept, is a function decorated with
    :func:`on_one_blas_thread`.
    """
    user = object()
    interrupt = None
    try:
        _blas.enter(user)
        yield
    finally:
        for _ in _ATTEMPTS:  # as in `run_tasks`
            try:
                _blas.leave(user)
                break
            except BaseException as error:
                interrupt = error
        if interrupt is not None:
            try:
                raise interrupt
            finally:
                interrupt = None  # which refers to this frame


def on_one_blas_thread(function):
    """Decorate a function that keeps BLAS to one thread: :func:`blas_on_one_thread`, left whatever arrives when."""

    @functools.wraps(function)
    def pinned(*args, **kwargs):
        user = object()
        interrupt = None
        try:
            _blas.enter(user)
            return function(*args, **kwargs)
        finally:
            for _ in _ATTEMPTS:  # as in `run_tasks`
                try:
                    _blas.leave(user)
                    break
                except BaseException as error:
                    interrupt = error
            if interrupt is not None:
                try:
                    raise interrupt
                finally:
                    interrupt = None  # which refers to this frame

    return pinned


class _Blas:
    """The users of :func:`blas_on_one_thread`, and what to restore when the last has left.

    Both methods can be cut short anywhere by an exception and called again. And between any two steps of them a signal
    handler may run that becomes a user itself and leaves again: hence a lock that lets its owner in.
    """

    def __init__(self):
        self.lock = RLock()
        self.users = {}  # user: its thread
        self.before = None  # [(library, number of threads)], None while nothing is pinned

    def enter(self, user):
        """Pin."""
        with self.lock:
            self.users[user] = get_ident()
            if self.before is None:
                found = [(library, library.get_num_threads()) for library in _blas_libraries()]
                self.before = self.before or found  # a handler's, who has come between and pinned, is right
            for library, _ in self.before:
                _set_blas_threads(library, 1)

    def leave(self, user):
        """Restore, if this was the last user."""
        with self.lock:
            self.users.pop(user, None)
            if self.before is not None and not self.users:
                for library, n_threads in self.before:
                    _set_blas_threads(library, n_threads)
                self.before = None

    def forget_other_threads(self):
        """In a forked child, drop the users that were left behind.

        If they were the only ones, BLAS stays pinned until the child's first user leaves: at a fork, BLAS's own locks
        are better left alone.
        """
        self.lock = RLock()
        here = get_ident()
        self.users = {user: thread for user, thread in self.users.items() if thread == here}


def _set_blas_threads(library, n_threads):
    # Since threadpoolctl 3.8 only the first thread that sets OpenBLAS's threads can do so, until it is told to let go;
    # from others it is silently ignored. We count our users ourselves, and whoever comes last must be able to restore.
    let_go = getattr(library, "clear_controlling_thread", lambda force: None)
    let_go(force=True)
    library.set_num_threads(n_threads)
    let_go(force=True)


@functools.cache
def _blas_libraries():
    # numpy and scipy are imported by now, and bring theirs; to look for libraries takes a millisecond.
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return [library for library in libraries if library.get_num_threads()]  # some builds do not tell


_blas = _Blas()


def _after_fork_in_child():
    global _pool
    _pool = _Pool()  # the threads are gone, and the old lock may have been held by one
    _blas.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
