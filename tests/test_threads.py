"""The pool: order, slots, errors, Ctrl-C, forks, callers at once; its width inside of joblib; BLAS on one thread."""

import contextlib
import functools
import gc
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import weakref
from pathlib import Path

import joblib
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from softmax_clf.kernels import threads
from softmax_clf.kernels.jit import jit
from softmax_clf.kernels.threads import blas_on_one_thread, effective_n_threads, on_one_blas_thread, run_tasks

ROOT = Path(__file__).resolve().parents[1]
LONG = 60.0  # seconds until something that must happen is given up

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")


def in_subprocess(code, **variables):
    """Run a program of its own and return what it printed; it must end by itself and without a complaint."""
    ours = ("LOKY_MAX_CPU_COUNT", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**kept, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=2 * LONG,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


def squares(n_tasks=20, n_threads=3):
    """Squares, by the pool; at module level for processes that pickle it."""
    out = np.zeros(n_tasks)

    def task(index, slot):
        out[index] = index**2

    run_tasks(task, n_tasks, n_threads)
    return out.sum()


SQUARES = sum(index**2 for index in range(20))


# ---------------------------------------------------------------------------------------------------------------------
# run_tasks


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
@pytest.mark.parametrize("n_tasks", [0, 1, 2, 7, 100])
def test_each_task_once(n_tasks, n_threads):
    calls = []
    run_tasks(lambda index, slot: calls.append((index, slot)), n_tasks, n_threads)
    assert sorted(index for index, _ in calls) == list(range(n_tasks))
    assert all(slot in range(n_threads) for _, slot in calls)


def test_serial_is_a_plain_loop():
    calls = []
    run_tasks(lambda index, slot: calls.append((index, slot, threading.get_ident())), 3, 1)
    run_tasks(lambda index, slot: calls.append((index, slot, threading.get_ident())), 1, 4)
    here = threading.get_ident()
    assert calls == [(0, 0, here), (1, 0, here), (2, 0, here), (0, 0, here)]


def test_threads_work_at_once_and_have_slots_of_their_own():
    """Each of three tasks waits for the other two, so that three threads there must be."""
    barrier = threading.Barrier(3)
    seen = []

    def task(index, slot):
        barrier.wait(LONG)
        seen.append((slot, threading.get_ident()))

    run_tasks(task, 3, 3)
    assert sorted(slot for slot, _ in seen) == [0, 1, 2]
    assert len({thread for _, thread in seen}) == 3
    assert (0, threading.get_ident()) in seen


@pytest.mark.parametrize("n_threads", [1, 2])
def test_tasks_have_the_errstate_of_their_caller(n_threads):
    """Whether an overflow raises must not depend on the thread that comes upon it."""
    barrier = threading.Barrier(n_threads)
    seen = []

    def task(index, slot):
        barrier.wait(LONG)
        seen.append(np.geterr())

    with np.errstate(over="raise", under="ignore", invalid="call", divide="print", call=print):
        expected = np.geterr()
        run_tasks(task, n_threads, n_threads)
    assert seen == [expected] * n_threads

    def overflow(index, slot):
        barrier.wait(LONG)
        return np.full(3, 1e300) * 1e300

    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        run_tasks(overflow, n_threads, n_threads)
    with np.errstate(over="ignore"):
        run_tasks(overflow, n_threads, n_threads)


def test_without_the_gil(monkeypatch):
    """There next() of an `itertools.count` is not one step."""
    monkeypatch.setattr(threads, "_HAS_GIL", False)
    test_each_task_once(100, 3)
    test_indices_are_handed_out_in_order()
    count, taken = threads._LockedCount(), []
    takers = [threading.Thread(target=lambda: taken.extend([next(count) for _ in range(20_000)])) for _ in range(4)]
    for thread in takers:
        thread.start()
    for thread in takers:
        thread.join(LONG)
    assert sorted(taken) == list(range(80_000))


def test_indices_are_handed_out_in_order():
    handed_out = {}

    def task(index, slot):
        handed_out.setdefault(slot, []).append(index)

    run_tasks(task, 1000, 4)
    assert all(indices == sorted(indices) for indices in handed_out.values())


def test_pool_grows_and_its_threads_are_daemons():
    barrier = threading.Barrier(6)
    run_tasks(lambda index, slot: barrier.wait(LONG), 6, 6)
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("softmax_clf")]
    assert len(ours) >= 5
    assert all(thread.daemon for thread in ours)
    run_tasks(lambda index, slot: None, 6, 2)
    assert len([thread for thread in threading.enumerate() if thread.name.startswith("softmax_clf")]) == len(ours)


def test_no_threads_to_be_had(monkeypatch):
    """A container may refuse to start threads: the caller then works alone."""

    def start(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_pool", threads._Pool())
    monkeypatch.setattr(threads, "start_new_thread", start)
    assert squares() == SQUARES
    assert threads._pool.n_threads == 0


def test_results_are_the_callers_alone():
    """Nothing of a finished round is held by threads that wait, nor by the error that it raised."""

    class Workspace:
        pass

    gc.disable()
    try:
        for fails in (False, True):
            workspace = Workspace()
            gone = weakref.ref(workspace)

            def task(index, slot, workspace=workspace, fails=fails):
                if fails:
                    raise ValueError(index)

            with pytest.raises(ValueError, match="0") if fails else contextlib.nullcontext() as caught:
                run_tasks(task, 4, 3)
            del workspace, task, caught
            assert gone() is None
    finally:
        gc.enable()


class _Oops(Exception):
    pass


def test_first_error_is_raised_when_all_have_stopped():
    """Task 1 fails while 0 is at work; 0 ends nevertheless before the error comes out, and few others are begun."""
    failed = threading.Event()
    begun, ended = [], []

    def task(index, slot):
        begun.append(index)
        if index == 1:
            failed.set()
            raise _Oops("task 1")
        if index == 0:
            assert failed.wait(LONG)
        ended.append(index)

    with pytest.raises(_Oops, match="task 1"):
        run_tasks(task, 10_000, 2)
    assert sorted(begun) == sorted([*ended, 1])
    assert 0 in ended
    assert len(begun) == 2
    assert squares() == SQUARES


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_error_does_not_depend_on_the_number_of_threads(n_threads):
    def task(index, slot):
        if index >= 5:
            raise _Oops(f"task {index}")

    for _ in range(50):
        with pytest.raises(_Oops, match=r"^task 5$"):
            run_tasks(task, 40, n_threads)


def test_exits_in_a_task_reach_the_caller():
    def task(index, slot):
        if index == 3:
            raise SystemExit(7)

    with pytest.raises(SystemExit):
        run_tasks(task, 10, 3)
    assert squares() == SQUARES


def test_nested():
    totals = np.zeros(8)

    def outer(index, slot):
        parts = np.zeros(5)

        def inner(part, slot):
            parts[part] = index * part

        run_tasks(inner, 5, 3)
        totals[index] = parts.sum()

    run_tasks(outer, 8, 3)
    np.testing.assert_array_equal(totals, 10.0 * np.arange(8))


def test_four_python_threads_at_once():
    results = []
    ready = threading.Barrier(4)

    def caller():
        ready.wait(LONG)
        for _ in range(200):
            results.append(squares())

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in callers)
    assert results == [SQUARES] * 800


def test_caller_gets_on_while_the_pool_is_busy(monkeypatch):
    """One caller holds all threads of the pool; another does 500 rounds, and leaves no calls piled up behind."""
    monkeypatch.setattr(threads, "_pool", threads._Pool())
    entered, release = threading.Barrier(3), threading.Event()

    def hold(index, slot):
        entered.wait(LONG)
        assert release.wait(LONG)

    holder = threading.Thread(target=run_tasks, args=(hold, 2, 2))
    holder.start()
    entered.wait(LONG)
    try:
        for _ in range(500):
            assert squares(n_threads=2) == SQUARES
        assert threads._pool.calls.qsize() <= threads._MAX_BACKLOG
    finally:
        release.set()
        holder.join(LONG)
    assert not holder.is_alive()
    assert squares() == SQUARES


def test_kernels_compile_in_the_pool():
    """The first call of a kernel may come from several threads at once."""

    @jit
    def kernel(x, out, index):
        out[index] = 2.0 * x

    out = np.zeros(50)
    run_tasks(lambda index, slot: kernel(float(index), out, index), 50, 4)
    np.testing.assert_array_equal(out, 2.0 * np.arange(50))


def test_interpreter_ends():
    """The pool's threads keep nobody from leaving, waiting or at work."""
    code = """
    import threading
    from softmax_clf.kernels.threads import run_tasks
    barrier = threading.Barrier(4)
    run_tasks(lambda index, slot: barrier.wait(60), 4, 4)
    stuck = threading.Thread(target=run_tasks, args=(lambda index, slot: threading.Event().wait(), 2, 2), daemon=True)
    stuck.start()
    print("end")
    """
    assert in_subprocess(code) == ["end"]


# ---------------------------------------------------------------------------------------------------------------------
# Ctrl-C


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_interrupt_waits_for_running_tasks():
    code = """
    import os, signal, threading
    from softmax_clf.kernels.threads import run_tasks
    here, interrupted, ended, begun = threading.get_ident(), threading.Event(), [], []
    both = threading.Barrier(2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let what runs in the background ignore it

    def task(index, slot):
        begun.append(index)
        if index < 2:
            both.wait(60)
        if threading.get_ident() == here:
            interrupted.set()
            os.kill(os.getpid(), signal.SIGINT)
        else:
            interrupted.wait(60)
        ended.append(index)

    try:
        run_tasks(task, 1000, 2)
    except KeyboardInterrupt:
        print("interrupted", len(begun) < 1000, len(begun) - len(ended))
    total = []
    run_tasks(lambda index, slot: total.append(index), 100, 2)
    print(len(total))
    """
    # one of the tasks begun did not end: the one in the calling thread, where the signal arrived
    assert in_subprocess(code) == ["interrupted", "True", "1", "100"]


class _Limit(Exception):
    """As a task queue's."""


class _Exit(BaseException):
    """As a test's time-out."""


@contextlib.contextmanager
def _alarm(handler):
    before = signal.signal(signal.SIGALRM, handler)
    gc.disable()  # what is raised in a callback of the collector is lost
    try:
        yield
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


needs_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers of POSIX")


class _Watched:
    """Tasks that know whether they run."""

    def __init__(self):
        self.running = {}

    def task(self, index, slot):
        self.running[slot] = True
        try:
            sum(range(20))
        finally:
            self.running[slot] = False

    @on_one_blas_thread
    def run(self):
        run_tasks(self.task, 10, 3)

    def run_in_context(self):
        with blas_on_one_thread():
            run_tasks(self.task, 10, 3)

    def check(self):
        """Nothing runs, nobody is counted, BLAS is as it was."""
        assert not any(self.running.values())
        assert threads._blas.users == {}
        assert threads._blas.before is None
        assert set(_blas_threads()) == free()


@needs_timers
@pytest.mark.usefixtures("two_blas_threads")
@pytest.mark.parametrize("kind", [_Limit, _Exit, KeyboardInterrupt])
def test_exceptions_of_signal_handlers_at_any_moment(kind):
    """Wherever it strikes, once the exception is there no task runs, and all is as it was."""

    def handler(*_):
        raise kind

    watched = _Watched()
    watched.run()
    rng = np.random.default_rng(0)
    n_caught = 0
    with _alarm(handler):
        for moment in rng.uniform(1e-6, 300e-6, 3000):
            try:
                signal.setitimer(signal.ITIMER_REAL, moment)
                watched.run()
                late = time.monotonic() + LONG
                while time.monotonic() < late:
                    pass  # not a wait: the signal may come to another thread, and would not end it
            except kind:
                n_caught += 1
                watched.check()  # with the exception at hand: its traceback keeps what has not been left
            assert squares(10) == 285
    assert n_caught == 3000


@pytest.mark.usefixtures("two_blas_threads")
@pytest.mark.parametrize("in_context", [False, True])
def test_an_exception_at_each_call(in_context):
    """At each call's begin and each return from C, one after another: there signal handlers run."""
    watched = _Watched()
    watched.run()
    for moment in range(10_000):
        left = moment

        def strike(frame, event, arg):
            nonlocal left
            if event in ("call", "c_return"):
                left -= 1
                if left < 0:
                    raise _Limit

        try:
            sys.setprofile(strike)
            watched.run_in_context() if in_context else watched.run()
        except _Limit:
            sys.setprofile(None)
            if not in_context:
                watched.check()
        finally:
            sys.setprofile(None)
        watched.check()
        if left >= 0:
            break
    assert 50 < moment < 9999


@needs_timers
@pytest.mark.usefixtures("two_blas_threads")
def test_signal_handlers_that_run_tasks_themselves():
    """At any moment, with a lock held or not, in the pool's first steps too."""
    watched, inner = _Watched(), _Watched()
    n_handled = 0

    def handler(*_):
        nonlocal n_handled
        inner.run()
        with blas_on_one_thread():
            assert set(_blas_threads()) == pinned()
        n_handled += 1

    rng = np.random.default_rng(0)
    with _alarm(handler):
        for moment in rng.uniform(1e-6, 300e-6, 1000):
            signal.setitimer(signal.ITIMER_REAL, moment)
            watched.run()
            while signal.getitimer(signal.ITIMER_REAL)[0]:
                pass
            watched.check()
            inner.check()
    assert n_handled == 1000


def test_exceptions_that_come_each_time_end():
    """Such as where the stack is at its limit."""

    def deep():
        try:
            deep()
        except RecursionError:
            pass
        with contextlib.suppress(RecursionError):
            on_one_blas_thread(lambda: None)()

    deep()
    assert threads._blas.users == {}
    with blas_on_one_thread():
        pass
    assert threads._blas.before is None


# ---------------------------------------------------------------------------------------------------------------------
# gevent

_GEVENT = """
    import sys
    import numpy as np
    {first}
    import softmax_clf
    from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
    from softmax_clf.kernels import threads
    from softmax_clf.sources import arrays

    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 40))
    y = 1 * (X[:, 0] > 0) + (X[:, 1] > 0)

    class Rows:
        shape, dtype = X.shape, X.dtype
        def __getitem__(self, rows):
            gevent.sleep(0)
            return X[rows]

    def use():
        clf = SoftmaxRegressionClassifier(n_jobs=3).fit(X, y)
        clf.predict_proba(X)
        squares = []
        threads.run_tasks(lambda index, slot: squares.append(index**2), 50, 3)
        return len(squares), clf.converged_

    {then}
    import gevent
    print(*use())
    SoftmaxRegressionClassifierCV(3, cv=3, n_jobs=3).fit(X[:500], y[:500])
    arrays._SLICE_BYTES = X.nbytes // 5
    jobs = [gevent.spawn(SoftmaxRegressionClassifier(n_jobs=2).fit, Rows(), y) for _ in range(3)]
    gevent.joinall(jobs, raise_error=True)
    print(all((job.value.coef_ == jobs[0].value.coef_).all() for job in jobs))
"""


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("", "from gevent import monkey; monkey.patch_all()"),
        ("", "use(); from gevent import monkey; monkey.patch_all()"),
        ("from gevent import monkey; monkey.patch_all()", ""),
    ],
    ids=["after the import", "after a fit", "before the import"],
)
def test_gevent(first, then):
    """A server that loads the model first and patches its worker afterwards: queues and threads remain of one kind."""
    folders = [str(ROOT), str(Path(pytest.importorskip("gevent").__file__).parents[1])]
    code = _GEVENT.format(first=first, then=then)
    assert in_subprocess(code, PYTHONPATH=os.pathsep.join(folders)) == ["50", "True", "True"]


# ---------------------------------------------------------------------------------------------------------------------
# Forks and other processes


def _wait_for(pid):
    """Wait for a child, that must not hang, and return its exit code."""
    timer = threading.Timer(LONG, os.kill, (pid, getattr(signal, "SIGKILL", 9)))
    timer.start()
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        timer.cancel()


def _fork(check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, which is the point
        pid = os.fork()
    if pid:
        return _wait_for(pid)
    code = 1
    try:
        code = 0 if check() else 2
    finally:
        os._exit(code)


@needs_fork
def test_fork_after_use():
    assert squares() == SQUARES
    assert _fork(lambda: squares() == SQUARES) == 0
    assert squares() == SQUARES


@needs_fork
def test_fork_while_the_pool_is_at_work():
    """The child has neither the threads nor a lock that one of them held."""
    entered, release = threading.Barrier(3), threading.Event()

    def hold(index, slot):
        entered.wait(LONG)
        release.wait(LONG)

    holder = threading.Thread(target=run_tasks, args=(hold, 2, 2))
    holder.start()
    entered.wait(LONG)
    try:
        with threads._pool.lock:
            assert _fork(lambda: squares() == SQUARES) == 0
    finally:
        release.set()
        holder.join(LONG)


@needs_fork
def test_fork_in_a_fork():
    assert squares() == SQUARES
    assert _fork(lambda: squares() == SQUARES and _fork(lambda: squares() == SQUARES) == 0) == 0


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_multiprocessing(method):
    assert squares() == SQUARES
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap_async(squares, [(), (), ()]).get(2 * LONG) == [SQUARES] * 3


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading", "sequential"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_joblib(backend):
    assert squares() == SQUARES
    results = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(squares)() for _ in range(4))
    assert results == [SQUARES] * 4


# ---------------------------------------------------------------------------------------------------------------------
# effective_n_threads


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch):
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def _nested(n_jobs, backend, n_tasks):
    calls = (joblib.delayed(effective_n_threads)() for _ in range(n_tasks))
    return joblib.Parallel(n_jobs=n_jobs, backend=backend)(calls)


@pytest.fixture
def n_cores(monkeypatch):
    """Set the number of cores that there seem to be, in workers too."""

    def pretend(n):
        # LOKY_MAX_CPU_COUNT only lowers the number, and the test machine may have one
        monkeypatch.setattr(threads, "_n_cores", lambda: n)
        monkeypatch.setattr(joblib.externals.loky.backend.context, "_cpu_count_user", lambda os_cpu_count: n)
        monkeypatch.setattr(os, "cpu_count", lambda: n)

    return pretend


@pytest.mark.parametrize(("n_jobs", "expected"), [(None, 8), (1, 1), (3, 3), (20, 20), (-1, 8), (-2, 7), (-9, 1)])
def test_n_jobs(n_cores, n_jobs, expected):
    n_cores(8)
    assert effective_n_threads(n_jobs) == expected
    if n_jobs is not None:
        assert effective_n_threads(np.int64(n_jobs)) == expected


def test_n_jobs_zero():
    with pytest.raises(ValueError, match=r"Expected n_jobs .*got 0.*Remedy"):
        effective_n_threads(0)


@pytest.mark.parametrize("n_jobs", [1.5, "all", True])
def test_n_jobs_of_another_type(n_jobs):
    with pytest.raises(TypeError, match=r"Expected n_jobs .*got.*Remedy"):
        effective_n_threads(n_jobs)


def test_as_many_as_joblib_counts():
    assert effective_n_threads() == effective_n_threads(-1) == joblib.cpu_count()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"NUMBA_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_NUM_THREADS": "3,2,1"}, 3),  # by level of nesting
        ({"NUMBA_NUM_THREADS": "5", "OMP_NUM_THREADS": "2"}, 2),
        ({"NUMBA_NUM_THREADS": "2", "OMP_NUM_THREADS": "5"}, 2),
        ({"NUMBA_NUM_THREADS": "80"}, 8),
        ({"NUMBA_NUM_THREADS": "0", "OMP_NUM_THREADS": "many"}, 8),
        ({"NUMBA_NUM_THREADS": "", "OMP_NUM_THREADS": "-1"}, 8),
    ],
)
def test_variables_that_schedulers_set_for_their_workers(n_cores, monkeypatch, variables, expected):
    n_cores(8)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert effective_n_threads() == expected
    assert effective_n_threads(-1) == 8
    assert effective_n_threads(6) == 6
    with joblib.parallel_config(backend="loky", n_jobs=4):
        assert effective_n_threads() == min(expected, 4)
    assert set(_nested(2, "threading", 4)) == {max(expected // 2, 1)}


def test_loky_max_cpu_count(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert effective_n_threads() == effective_n_threads(-1) == 1
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT")
    assert effective_n_threads(-1) == joblib.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this platform")
def test_affinity_may_change():
    code = """
    import os
    from softmax_clf.kernels.threads import effective_n_threads
    print(effective_n_threads() == len(os.sched_getaffinity(0)) or "quota")
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    print(effective_n_threads())
    """
    assert in_subprocess(code)[1] == "1"


@pytest.mark.parametrize(("n_jobs", "expected"), [(2, 2), (1, 1), (-1, 8), (-3, 6), (16, 8), (None, 8)])
def test_parallel_config(n_cores, n_jobs, expected):
    n_cores(8)
    with joblib.parallel_config(backend="loky", n_jobs=n_jobs):
        assert effective_n_threads() == expected
        assert effective_n_threads(-1) == 8
        assert effective_n_threads(3) == 3


@pytest.mark.parametrize(("n_jobs", "expected"), [(2, 4), (3, 2), (8, 1), (16, 1)])
def test_share_of_a_joblib_thread(n_cores, n_jobs, expected):
    n_cores(8)
    calls = (joblib.delayed(effective_n_threads)() for _ in range(2 * n_jobs))
    assert set(joblib.Parallel(n_jobs=n_jobs, prefer="threads")(calls)) == {expected}
    assert effective_n_threads() == 8
    assert set(joblib.Parallel(n_jobs=n_jobs, prefer="threads")([joblib.delayed(effective_n_threads)(-1)])) == {8}


def test_share_of_a_thread_of_a_thread(n_cores):
    n_cores(8)
    results = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(_nested)(2, "threading", 4) for _ in range(2)
    )
    assert set(itertools.chain(*results)) == {2}


def test_other_pools_of_threads_do_not_count(n_cores):
    n_cores(8)
    with multiprocessing.pool.ThreadPool(5):
        assert set(_nested(2, "threading", 4)) == {4}


def test_serial_joblib_leaves_all(n_cores):
    n_cores(8)
    assert _nested(1, "threading", 2) == [8, 8]


@pytest.mark.parametrize(("inner", "expected"), [(None, 4), (3, 3)])
def test_share_of_a_loky_worker(inner, expected):
    """joblib tells a worker its share by environment variables. In processes of their own, which have 8 cores."""
    code = f"""
    import os
    os.cpu_count = lambda: 8
    os.sched_getaffinity = lambda pid: set(range(8))
    import joblib, joblib.externals.loky.backend.context as context
    context._cpu_count_user = lambda os_cpu_count: 8

    def worker():
        import os
        from softmax_clf.kernels import threads
        threads._n_cores = lambda: 8
        return threads.effective_n_threads(), threads.effective_n_threads(-1)

    with joblib.parallel_config(backend="loky", inner_max_num_threads={inner}):
        results = joblib.Parallel(n_jobs=2)(joblib.delayed(worker)() for _ in range(4))
    print(*sorted(set(results))[0], len(set(results)))
    """
    assert in_subprocess(code) == [str(expected), "8", "1"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_share_of_a_multiprocessing_worker(n_cores):
    """joblib does not tell it how many workers there are."""
    n_cores(8)
    assert set(_nested(2, "multiprocessing", 4)) == {1}


# ---------------------------------------------------------------------------------------------------------------------
# blas_on_one_thread


def _blas_threads():
    return [library.get_num_threads() for library in threads._blas_libraries()]


@pytest.fixture
def two_blas_threads():
    """BLAS on two threads, if this one can be told so."""
    with threadpool_limits(2, user_api="blas"):
        if set(_blas_threads()) != {2}:
            pytest.skip("needs a BLAS that can be set to two threads")
        yield


pinned, free = functools.partial(set, [1]), functools.partial(set, [2])


@pytest.mark.usefixtures("two_blas_threads")
def test_blas_nested():
    with blas_on_one_thread():
        assert set(_blas_threads()) == pinned()
        with blas_on_one_thread():
            assert set(_blas_threads()) == pinned()
        assert set(_blas_threads()) == pinned()
    assert set(_blas_threads()) == free()


@pytest.mark.usefixtures("two_blas_threads")
@pytest.mark.parametrize("error", [_Oops, KeyboardInterrupt])
def test_blas_after_an_error(error):
    with pytest.raises(error), blas_on_one_thread():
        raise error
    assert set(_blas_threads()) == free()


@pytest.mark.usefixtures("two_blas_threads")
def test_blas_of_overlapping_users():
    """The first to come is the first to leave."""
    first, second = blas_on_one_thread(), blas_on_one_thread()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert set(_blas_threads()) == pinned()
    second.__exit__(None, None, None)
    assert set(_blas_threads()) == free()


@pytest.mark.usefixtures("two_blas_threads")
def test_blas_leaves_threadpoolctl_to_others():
    """In 3.8 a thread that sets the number keeps all others from doing so, in silence."""
    with blas_on_one_thread():
        pass
    seen = []

    def other():
        with threadpool_limits(1, user_api="blas"):
            seen.append(set(_blas_threads()) == pinned())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join(LONG)
    assert seen == [True]


@pytest.mark.usefixtures("two_blas_threads")
def test_blas_users_leave_in_any_order():
    """Another thread came first, this one leaves last and must restore."""
    entered, release = threading.Event(), threading.Event()

    def first():
        with blas_on_one_thread():
            entered.set()
            release.wait(LONG)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(LONG)
    with blas_on_one_thread():
        release.set()
        thread.join(LONG)
        assert set(_blas_threads()) == pinned()
    assert set(_blas_threads()) == free()


@pytest.mark.usefixtures("two_blas_threads")
def test_blas_in_four_python_threads():
    seen = []
    ready = threading.Barrier(4)

    def user():
        ready.wait(LONG)
        for _ in range(500):
            with blas_on_one_thread():
                seen.append(set(_blas_threads()) == pinned())

    users = [threading.Thread(target=user) for _ in range(4)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(LONG)
    assert seen == [True] * 2000
    assert set(_blas_threads()) == free()


@needs_fork
@pytest.mark.usefixtures("two_blas_threads")
def test_blas_in_a_forked_child():
    """A user in another thread is left behind by the fork; one in the thread that forks goes on."""
    entered, release = threading.Event(), threading.Event()

    def check():
        with blas_on_one_thread():
            return set(_blas_threads()) == pinned()

    def user():
        with blas_on_one_thread():
            entered.set()
            release.wait(LONG)

    thread = threading.Thread(target=user)
    thread.start()
    try:
        assert entered.wait(LONG)
        with threads._blas.lock:
            assert _fork(lambda: check() and set(_blas_threads()) == free()) == 0
        assert set(_blas_threads()) == pinned()
    finally:
        release.set()
        thread.join(LONG)

    with blas_on_one_thread():
        assert _fork(lambda: set(_blas_threads()) == pinned() and check() and set(_blas_threads()) == pinned()) == 0
    assert set(_blas_threads()) == free()
    assert _fork(lambda: check() and set(_blas_threads()) == free()) == 0
