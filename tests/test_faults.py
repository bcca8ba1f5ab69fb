"""Forks, kills, damage, full disks and memory, signals and refused threads: nothing hangs, and nothing is lost.

A round or two of some in a plain run; `pytest -m slow tests/test_faults.py` takes them by the hundred.
"""

import os
import signal

import pytest
from programs import rounds, run_program

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
needs_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="timers of POSIX")

# Names that all programs below have.
PRELUDE = """
import contextlib, hashlib, itertools, os, random, signal, sys, threading, time, traceback, warnings
from pathlib import Path
import numpy as np
warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads, which are the point

def in_child(work, limit=60):
    '''Run work in a fork; return how that ended: 0, the number of an error, or "hangs".'''
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    late = time.monotonic() + limit
    while time.monotonic() < late:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hangs"

def bits(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()
"""

# A fit, what it leaves as bytes, and what it should.
FIT = """
import joblib
from scipy import sparse
from softmax_clf import SoftmaxRegressionClassifier, SoftmaxRegressionClassifierCV
rng = np.random.default_rng(0)
X = rng.standard_normal((3000, 40)).astype(np.float32)
y = (X[:, :5] + rng.gumbel(size=(3000, 5))).argmax(axis=1)

def fitted(n_jobs=2, **parameters):
    clf = SoftmaxRegressionClassifier(n_jobs=n_jobs, **parameters).fit(X, y)
    return bits(clf.coef_, clf.intercept_, clf.predict_proba(X))

def several():
    '''Of dense rows, of sparse ones, and with an L1 penalty: kernels of each.'''
    rows, found = sparse.csr_array(np.where(X > 0.5, X, 0)[:, :7]), [fitted()]
    for X_, parameters in ((rows, {}), (X[:300], {"l1_ratio": 0.5})):
        clf = SoftmaxRegressionClassifier(**parameters).fit(X_, y[: X_.shape[0]])
        found.append(bits(clf.coef_, clf.intercept_))
    return "-".join(found)

def state(clf):
    return joblib.hash({name: value for name, value in vars(clf).items() if name not in clf.get_params()})
"""


def in_program(code, *arguments, prelude="", limit=120, **variables):
    return run_program(code, *arguments, prelude=PRELUDE + prelude, limit=limit, **variables)


# ---------------------------------------------------------------------------------------------------------------------
# Forks


@needs_fork
@rounds(50)
def test_forks_before_during_and_after_a_fit(n_rounds):
    """And forks of forks. Each child fits, on the pool, and has the parent's bits."""
    code = """
    expected = fitted()

    def check():
        assert fitted() == expected

    def check_twice():
        check()
        assert in_child(check) == 0

    stop = threading.Event()
    def fit_on():
        while not stop.is_set():
            assert fitted() == expected
    thread = threading.Thread(target=fit_on)
    outcomes = [in_child(check), in_child(check_twice)]
    thread.start()
    for _ in range(int(sys.argv[1])):
        time.sleep(random.uniform(0, 0.02))
        outcomes.append(in_child(check_twice))
    stop.set()
    thread.join()
    outcomes.append(in_child(check))
    check()
    print(*outcomes)
    """
    (outcomes,) = in_program(code, n_rounds, prelude=FIT, limit=60 + 10 * n_rounds)
    assert outcomes.split() == ["0"] * (n_rounds + 3)


@needs_fork
@rounds(50, quick=1)
def test_forks_during_a_compilation(tmp_path, n_rounds):
    """numba's lock of its compiler is held by a thread that the child does not have."""
    code = """
    from kept_kernels import make
    numbers, stop = itertools.count(), threading.Event()
    def compile_on():
        while not stop.is_set():
            make(next(numbers))(2.5)
    def check():
        number = next(numbers)
        assert make(number)(2.5) == 2.5 * number
    def check_twice():
        check()
        assert in_child(check) == 0
    check()
    thread = threading.Thread(target=compile_on)
    thread.start()
    outcomes = []
    for _ in range(int(sys.argv[1])):
        time.sleep(random.uniform(0, 0.2))
        outcomes.append(in_child(check_twice, limit=20))
    stop.set()
    thread.join()
    print(*outcomes)
    """
    (outcomes,) = in_program(code, n_rounds, limit=60 + 10 * n_rounds, NUMBA_CACHE_DIR=str(tmp_path))
    assert outcomes.split() == ["0"] * n_rounds


# ---------------------------------------------------------------------------------------------------------------------
# The cache of kernels

# Small kernels that are kept, and how to use them in a child that knows none of them yet.
KERNELS = """
import numba.core.compiler, softmax_clf.kernels.jit as module
from kept_kernels import make
numba.njit(lambda x: x + 1)(1)  # what numba does once
N_KERNELS = 2

def use(faults=0):
    for number in range(N_KERNELS):
        assert make(number)(2.5) == 2.5 * number
    assert module._counts["faults"] == faults, module._last_fault

def files():
    return sorted(Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.kernel*"))
"""


@needs_fork
@pytest.mark.slow
def test_kills_while_the_cache_is_written(tmp_path):
    """kill -9 at each step of writing a file, and at random moments: what is there is whole, and what is left goes."""
    code = """
    import builtins
    n_steps = 0

    class Slow:
        '''A file that is written in pieces, each of them a step.'''
        def __init__(self, file):
            self.file = file
        def __enter__(self):
            return self
        def __exit__(self, *exception):
            step()
            self.file.close()
            step()
        def write(self, content):
            for start in range(0, len(content), 1 + len(content) // 5):
                step()
                self.file.write(content[start : start + 1 + len(content) // 5])
                self.file.flush()

    def step():
        global n_steps
        n_steps -= 1
        if n_steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    class Steps:
        def __getattr__(self, name):
            if name in ("replace", "unlink", "makedirs", "open"):
                step()
            return getattr(os, name)

    def killed(at):
        global n_steps
        n_steps = at
        module.os, module.open = Steps(), lambda path, mode: Slow(open(path, mode)) if "w" in mode else open(path, mode)
        use()

    def killed_after(seconds):
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()
        use()

    def remove_kernels():
        for path in files():
            if path.suffix == ".kernel":
                path.unlink()

    n_killed = n_rounds = 0
    while n_killed < int(sys.argv[1]):  # some are done before the moment comes
        n_rounds += 1
        moment = random.uniform(0, 0.2)
        outcome = in_child((lambda: killed(1 + n_rounds % 21)) if n_rounds % 2 else (lambda: killed_after(moment)))
        assert outcome in (0, -9), outcome
        n_killed += outcome == -9
        assert in_child(use) == 0  # loads or compiles, without a fault
        remove_kernels()
    n_left = len(files())
    for path in files():  # an hour later
        os.utime(path, (time.time() - 4000, time.time() - 4000))
    assert in_child(use) == 0
    print(n_rounds, n_left, *(path.suffix for path in files()))
    """
    (line,) = in_program(code, 200, prelude=KERNELS, limit=1000, NUMBA_CACHE_DIR=str(tmp_path))
    print(line)
    n_rounds, n_left, *suffixes = line.split()
    assert int(n_rounds) >= 200
    assert int(n_left) > 0
    assert suffixes == [".kernel"] * 2


@needs_fork
@pytest.mark.slow
def test_each_file_of_the_cache_damaged(tmp_path):
    """Emptied, cut, one bit flipped: the fit has its bits, by one kernel compiled anew, and mends the file."""
    code = """
    from softmax_clf.kernels import jit as module
    expected, faults = sys.argv[1], []

    def check():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the cache's own, counted below
            assert several() == expected
        os.write(pipe, bytes([module._counts["faults"], module._counts["misses"]]))

    def flipped(blob):
        place = random.randrange(len(blob))
        return blob[:place] + bytes([blob[place] ^ 1 << random.randrange(8)]) + blob[place + 1 :]

    kept = {path: path.read_bytes() for path in Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.kernel")}
    for path, blob in kept.items():
        for damage in (lambda blob: b"", lambda blob: blob[: random.randrange(len(blob))], flipped):
            path.write_bytes(damage(blob))
            read, pipe = os.pipe()
            assert in_child(check, limit=100) == 0
            faults.append(tuple(os.read(read, 2)))
            os.close(read), os.close(pipe)
            assert module._read(path) is not None
            path.write_bytes(blob)
    print(len(kept), *sorted({str(n).replace(" ", "") for n in faults}))
    """
    (expected,) = in_program("print(several())", prelude=FIT, NUMBA_CACHE_DIR=str(tmp_path))
    (line,) = in_program(code, expected, prelude=FIT, limit=600, NUMBA_CACHE_DIR=str(tmp_path))
    n_files, *outcomes = line.split()
    assert int(n_files) >= 5
    assert outcomes == ["(1,1)"]


@needs_fork
@pytest.mark.slow
def test_every_flipped_bit_is_seen(tmp_path):
    code = """
    in_child(use)
    n_seen, n_rounds = 0, int(sys.argv[1])
    path = files()[0]
    blob = path.read_bytes()
    for _ in range(n_rounds):
        changed = bytearray(blob)
        changed[random.randrange(len(blob))] ^= 1 << random.randrange(8)
        path.write_bytes(changed)
        try:
            module._read(str(path))
        except module._Fault:
            n_seen += 1
    print(n_seen)
    """
    assert in_program(code, 20_000, prelude=KERNELS, limit=300, NUMBA_CACHE_DIR=str(tmp_path)) == ["20000"]


@needs_fork
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "too large", "read-only"])
def test_a_folder_that_takes_nothing(tmp_path, kind):
    """Of the system's own making: a file system that is full, a limit of a file's size, another user's folder."""
    code = """
    import resource, subprocess
    kind, folder = sys.argv[1], os.environ["NUMBA_CACHE_DIR"]
    os.makedirs(folder, exist_ok=True)
    if kind == "full":
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder], capture_output=True).returncode:
            print("skip")
            sys.exit()
        with contextlib.suppress(OSError), open(folder + "/filler", "wb", buffering=0) as file:
            while file.write(bytes(512)):
                pass
    elif kind == "too large":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    else:
        os.chmod(folder, 0o555)
        if not os.geteuid():  # root can write to any folder
            os.setuid(65534)
    def check():
        warnings.simplefilter("ignore", RuntimeWarning)
        use(faults=N_KERNELS)
    outcome = in_child(check), in_child(check)
    left = 0 if kind == "read-only" else len(files())
    if kind == "full":
        subprocess.run(["umount", folder], check=True)
    print(*outcome, left)
    """
    (line,) = in_program(code, kind, prelude=KERNELS, NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
    if line == "skip":
        pytest.skip("no file system can be mounted")
    assert line == "0 0 0"


@needs_fork
@pytest.mark.slow
def test_eight_processes_compile_at_once(tmp_path):
    """For the first time on a machine, each time: all have the answer, none a fault, nothing is left over."""
    code = """
    outcomes = set()
    for _ in range(int(sys.argv[1])):
        for path in files():
            path.unlink()
        begin = time.time() + 0.05
        def work():
            time.sleep(max(begin - time.time(), 0))
            use()
        pids = []
        for _ in range(8):
            pid = os.fork()
            if not pid:
                try:
                    work()
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                    os._exit(1)
            pids.append(pid)
        outcomes |= {os.waitpid(pid, 0)[1] for pid in pids}
        outcomes.add(" ".join(path.suffix for path in files()))
    print(*sorted(map(str, outcomes)))
    """
    (line,) = in_program(code, 50, prelude=KERNELS, limit=1000, NUMBA_CACHE_DIR=str(tmp_path))
    assert line == ".kernel .kernel 0"


# ---------------------------------------------------------------------------------------------------------------------
# Memory, signals, threads

# Fits of some tenths of a second, of estimators that are fitted: afterwards they are in one of two states.
LONG_FIT = """
warnings.simplefilter("ignore")
long_X = np.random.default_rng(1).standard_normal((20_000, 100))
long_X *= np.logspace(-3, 3, 100)
long_y = (long_X[:, :7] / long_X[:, :7].std(axis=0) + rng.gumbel(size=(20_000, 7))).argmax(axis=1)
expected = fitted()
clf = SoftmaxRegressionClassifier(n_jobs=2, tol=0.0, max_iter=100)
searched = SoftmaxRegressionClassifierCV(Cs=3, cv=3, n_jobs=2)

def fit():
    clf.fit(long_X, long_y)

def search():
    searched.fit(long_X[:5000], long_y[:5000])

fit(), search()
after = state(clf), state(searched)
clf.fit(X, y), searched.fit(X[:500], y[:500])
before = state(clf), state(searched)
assert before != after

def check():
    for estimator, *states in zip((clf, searched), before, after):
        assert state(estimator) in states
    assert fitted() == expected
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs to know how much memory is in use")
@rounds(100)
def test_a_limit_of_memory(n_rounds):
    """MemoryError, or a fit where it suffices; the estimator is whole, and fits when there is memory again."""
    code = """
    import resource
    n_rounds, outcomes = int(sys.argv[1]), {}
    for n in range(n_rounds):
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + int(2e8 * (n / n_rounds) ** 2), -1))
        try:
            fit() if n % 2 else search()
            outcome = "fitted"
        except MemoryError:
            outcome = "MemoryError"
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        check()
    print(outcomes.get("MemoryError", 0), outcomes.get("fitted", 0))
    """
    (line,) = in_program(code, n_rounds, prelude=FIT + LONG_FIT, limit=120 + 4 * n_rounds)
    n_errors, n_fitted = map(int, line.split())
    assert n_errors + n_fitted == n_rounds
    assert n_errors >= n_rounds // 10
    print(line)


@needs_timers
@rounds(50)
def test_interrupts_arrive_in_half_a_second(n_rounds):
    """Ctrl-C at random moments of a long fit: of the times that it took, the longest but those of a busy machine."""
    code = """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let what runs in the background ignore it
    late = []
    for _ in range(int(sys.argv[1])):
        sent = []
        def interrupt(seconds=random.uniform(0.01, 0.6)):
            time.sleep(seconds)
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=interrupt)
        try:
            thread.start()
            while True:
                fit()
        except KeyboardInterrupt:
            late.append(time.monotonic() - sent[0])
        thread.join()
        check()
    print(len(late), max(late))
    """
    (line,) = in_program(code, n_rounds, prelude=FIT + LONG_FIT, limit=120 + 5 * n_rounds)
    n_late, latest = line.split()
    assert int(n_late) == n_rounds
    if n_rounds == 50:  # a plain run shares its machine
        assert float(latest) < 0.5
    print(line)


@needs_timers
@rounds(200, quick=3)
def test_time_limits_at_random_moments(n_rounds):
    """As queues of tasks set them: a signal whose handler raises, during fits, predictions and searches."""
    code = """
    class Limit(Exception):
        pass
    def handler(*_):
        raise Limit
    signal.signal(signal.SIGALRM, handler)
    whole = SoftmaxRegressionClassifier().fit(X, y)
    work = [fit, search, lambda: whole.predict_proba(long_X[:, :40])]
    n_caught = 0
    for n in range(int(sys.argv[1])):
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 0.3))
            while True:
                work[n % 3]()
        except Limit:
            n_caught += 1
        check()
    print(n_caught)
    """
    (line,) = in_program(code, n_rounds, prelude=FIT + LONG_FIT, limit=120 + 3 * n_rounds)
    assert int(line) == n_rounds


@rounds(40)
def test_threads_refused_at_any_moment(n_rounds):
    """From the n-th on no thread can be started: the same bits, by those that there are."""
    code = """
    import _thread
    from softmax_clf.kernels import threads
    from softmax_clf.sources import arrays

    class Rows:
        shape, dtype = X.shape, X.dtype
        def __getitem__(self, rows):
            return X[rows]

    arrays._SLICE_BYTES = X.nbytes // 7
    start, left = threads.start_new_thread, 0
    def refuse(*arguments, **keywords):
        global left
        left -= 1
        if left < 0:
            raise RuntimeError("can't start new thread")
        return start(*arguments, **keywords)

    def everything():
        clf = SoftmaxRegressionClassifier(n_jobs=6).fit(Rows(), y)
        searched = SoftmaxRegressionClassifierCV(Cs=2, cv=2, n_jobs=5).fit(X[:900], y[:900])
        return bits(clf.coef_, clf.predict_proba(Rows()), searched.coef_), fitted(n_jobs=4)

    expected = everything()
    threads.start_new_thread = refuse
    threading._start_new_thread = refuse  # CPython's threads
    if hasattr(threading, "_start_joinable_thread"):
        threading._start_joinable_thread = refuse
    outcomes = set()
    for n in range(int(sys.argv[1])):
        threads._pool, left = threads._Pool(), n
        outcomes.add(everything() == expected)
    print(*outcomes)
    """
    (line,) = in_program(code, n_rounds, prelude=FIT, limit=120 + 5 * n_rounds)
    assert line == "True"
