"""Rows of a Dask collection: where its chunks lie, there work is done on them.

What is made of a chunk stays in the worker that has it, as a future: Dask knows how to make it again where a worker
dies. Large arguments go out once a call, to all workers, beside the graph. Answers are added up in a tree that the
number of chunks decides, not that of the workers: so do the bits of a sum. Where they are few bytes a worker has one
task for all of its chunks, and the client adds them up.
"""

import math
import sys
import threading
import time
import warnings
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from typing import Any

import dask
import joblib
import numpy as np

_FAN_IN = 8  # answers that are added by one task
_SMALL_BYTES = 1 << 20  # of arguments that go with the tasks, and of answers that come here, of all of them
_LOOK_AGAIN = 2.0  # seconds after which it is asked again which worker has what
_RETRIES = 5  # of a call whose arguments have died with the only workers that had them
_COSTLY = 10.0  # seconds to compute X in, from which on it is told that every fit does


def default_client():
    """The client that Dask would use by default, or None: it knows of none, or is told to do without."""
    distributed = sys.modules.get("distributed")  # without which there is none
    if distributed is None or dask.config.get("scheduler", None) not in (None, "distributed", "dask.distributed"):
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None


class Cluster:
    """Runs functions where their arguments lie.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client):
        self.client = client

    def load(self, blocks):
        """Compute delayed values, each to stay where it is."""
        return self.client.compute(list(blocks))

    def has(self, blocks):
        """Whether delayed values are there already."""
        return {block.key for block in blocks} <= self.client.futures.keys()

    def send(self, value):
        """A value for all workers."""
        return self.client.scatter(value, broadcast=True, hash=False)

    def each(self, function, *arguments, **common):
        """A function of each of some values, which stay where they are made."""
        return self.client.map(function, *arguments, **common, pure=False)

    def call(self, function, *arguments):
        return self.client.submit(function, *arguments, pure=False)

    def gather(self, values):
        return self.client.gather(values)

    def neighbours(self, values):
        """Lists of the places of values that lie in the same worker, none of more than its share of them."""
        who_has, n_workers = self.client.who_has(values), max(len(self.client.nthreads()), 1)
        of_worker: dict = {}
        for place, value in enumerate(values):
            worker = min(who_has.get(value.key, ()), default=place)  # lost with its worker: by itself
            of_worker.setdefault(worker, []).append(place)
        share = -(-len(values) // n_workers)
        return [places[i : i + share] for places in of_worker.values() for i in range(0, len(places), share)]


class Here:
    """The same without a cluster: values are computed by Dask's other schedulers, and functions run here."""

    def load(self, blocks):
        return list(dask.compute(*blocks))

    def has(self, blocks):
        return False

    def send(self, value):
        return value

    def each(self, function, *arguments, **common):
        return [function(*each, **common) for each in zip(*arguments, strict=True)]

    def call(self, function, *arguments):
        return function(*arguments)

    def gather(self, values):
        return values

    def neighbours(self, values):
        return [list(range(len(values)))]


def workers():
    """Where there is work to be done: in a cluster, or here."""
    client = default_client()
    return Here() if client is None else Cluster(client)


# ---------------------------------------------------------------------------------------------------------------------
# Chunks


def is_frame(X):
    """Whether a collection is a DataFrame or a Series."""
    return hasattr(X, "partitions") and hasattr(X, "map_partitions")


def meta(X):
    """An empty piece of what the chunks of a collection are."""
    return X._meta


def blocks_of(X):
    """The chunks of a collection in the order of their rows, delayed; those beside each other as one."""
    if is_frame(X):
        return list(X.to_delayed())
    if X.ndim == 2 and X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    return list(X.to_delayed().reshape(-1))


def chunks(there, X):
    """The chunks of X where they are, or where they are computed now, with their shapes.

    Parameters
    ----------
    there : Cluster or Here
    X : dask.array.Array or dask.dataframe.DataFrame

    Returns
    -------
    list of chunk, list of tuple
    """
    blocks = blocks_of(X)
    computed = not there.has(blocks)
    began = time.monotonic()
    found = there.load(blocks)
    shapes = there.gather(there.each(np.shape, found))
    seconds = time.monotonic() - began
    if computed and isinstance(there, Cluster) and seconds > _COSTLY:
        warnings.warn(
            f"X is not persisted: to compute it took {seconds:.0f} s, which every fit and every prediction does again. "
            "Remedy: X = X.persist() before, where it fits in the memory of the workers.",
            UserWarning,
            stacklevel=8,
        )
    _check_shapes(shapes)
    return found, shapes


def _check_shapes(shapes):
    for i, shape in enumerate(shapes):
        if len(shape) != 2:
            raise ValueError(
                f"Expected X of two dimensions, got chunk {i} of shape {tuple(shape)}. Remedy: reshape X to "
                "(n_samples, n_features)."
            )
        if shape[1] != shapes[0][1]:
            raise ValueError(
                f"Expected all chunks of X to have the {shapes[0][1]} features of chunk 0, got {shape[1]} in chunk "
                f"{i}. Remedy: see what has made that chunk."
            )


def cut(there, values, lengths, name):
    """Values of rows, a collection or an array, in pieces of some lengths.

    Parameters
    ----------
    there : Cluster or Here
    values : dask collection or array-like (n_samples,)
    lengths : list of int
        Of the chunks of X.
    name : str
        What the values are called.

    Returns
    -------
    list of array, where they are; or of None, where values are None
    """
    if values is None:
        return [None] * len(lengths)
    if dask.is_dask_collection(values):
        parts = there.load(blocks_of(values))
        found = [shape[0] for shape in there.gather(there.each(np.shape, parts))]
    else:
        parts = [np.asarray(values)]
        found = [len(parts[0])]
    if sum(found) != sum(lengths):
        apart = next((i for i, pair in enumerate(zip(found, lengths, strict=False)) if pair[0] != pair[1]), 0)
        first = ""
        if len(found) > 1:
            first = f", chunk {apart} having {found[min(apart, len(found) - 1)]} for {lengths[apart]} rows"
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: expected {name} with a value for each of the "
            f"{sum(lengths)} rows of X, got {sum(found)}{first}. Remedy: pass one a row; where chunks have been "
            "filtered, filter X and y alike."
        )
    if found == list(lengths):
        return there.each(np.asarray, parts)
    ends, result, first = np.cumsum(found), [], 0
    for length in lengths:
        pieces, places = [], []
        for part, end, size in zip(parts, ends.tolist(), found, strict=True):
            start, stop = max(first, end - size) - (end - size), min(first + length, end) - (end - size)
            if start < stop:
                whole = isinstance(part, np.ndarray) and not isinstance(there, Here)
                pieces.append(part[start:stop] if whole else part)
                places.append((0, stop - start) if whole else (start, stop))
        if not pieces:  # of an empty chunk
            pieces, places = [parts[0][:0] if isinstance(parts[0], np.ndarray) else parts[0]], [(0, 0)]
        result.append(there.call(_joined, places, *pieces))
        first += length
    return result


def _joined(places, *pieces):
    return np.concatenate([np.asarray(piece)[slice(*place)] for place, piece in zip(places, pieces, strict=True)])


def of_each(there, function, numbers, *arguments, **common):
    """A function of chunks; ValueError of it names the chunk, and its first row."""
    return there.each(_named, numbers, *arguments, work=function, **common)


def _named(number, *arguments, work, **common):
    chunk, row = number
    try:
        with threads_of_worker():
            return work(*arguments, **common)
    except ValueError as error:
        raise ValueError(f"In chunk {chunk}, which begins with row {row}: {error}") from None


# ---------------------------------------------------------------------------------------------------------------------
# Sums


@contextmanager
def threads_of_worker():
    """All threads of the worker that this runs in, one task at a time; None where it runs in no worker."""
    worker = _worker()
    if worker is None:
        yield None
        return
    lock = worker.__dict__.setdefault("_softmax_clf_lock", threading.Lock())
    with lock:
        yield worker.state.nthreads


def _worker():
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.get_worker()
    except ValueError:
        return None


class Sums:
    """Adds up what a method of each of some objects gives, wherever they are.

    Parameters
    ----------
    there : Cluster or Here
    shards : list of object
        Where they are. Their attribute ``n_jobs`` is set to the threads that they have, where it is None.
    combine : callable (name, list of answer) -> answer
    """

    def __init__(self, there, shards, combine):
        self.there, self.shards, self.combine = there, shards, combine
        self.sizes: dict[str, int] = {}  # bytes of what each method has given
        self.lists, self.asked = [], -math.inf  # of shards that lie together, and when that was
        self.last: Any = None

    def __call__(self, name, *args):
        for left in reversed(range(_RETRIES)):
            try:
                return self._total(name, args)
            except CancelledError:  # the arguments were lost with their workers
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _total(self, name, args):
        arguments = Arguments(args)
        if arguments.nbytes * len(self.shards) > _SMALL_BYTES:
            arguments = self.there.send(arguments)
        # few bytes are added up here, by the same tree: a sum elsewhere takes a round more
        if self.sizes.get(name, np.inf) * len(self.shards) <= _SMALL_BYTES:
            return self._added(name, self._gathered(name, arguments), self.combine)
        answers = self.there.each(_answer, self.shards, name=name, args=arguments)
        total = self.there.gather(self._added(name, answers, partial(self.there.call, self.combine)))
        self.sizes[name] = sum(np.asarray(part).nbytes for part in total)
        return total

    def _gathered(self, name, arguments):
        """Answers in the order of the shards, by one task for all that a worker has: each costs time of its own."""
        if time.monotonic() - self.asked > _LOOK_AGAIN:
            self.lists, self.asked = self.there.neighbours(self.shards), time.monotonic()
        shards = [[self.shards[place] for place in places] for places in self.lists]
        # Those of the call before are let go once this one is under way: the scheduler is told of it, and is then sent
        # nothing more for 10 ms.
        self.last = self.there.each(_answers, shards, name=name, args=arguments)
        found = self.there.gather(self.last)
        answers: list = [None] * len(self.shards)
        for places, given in zip(self.lists, found, strict=True):
            for place, answer in zip(places, given, strict=True):
                answers[place] = answer
        return answers

    def _added(self, name, answers, combine):
        """Answers added up in a tree, by a callable (name, list of answer)."""
        while len(answers) > 1:
            groups = [answers[i : i + _FAN_IN] for i in range(0, len(answers), _FAN_IN)]
            answers = [combine(name, group) for group in groups]
        return answers[0]


class Arguments:
    """Arguments of a call as one value, which is sent once."""

    def __init__(self, values):
        self.values = values
        self.nbytes = sum(getattr(value, "nbytes", 0) for value in values)


def _answer(shard, name, args):
    with threads_of_worker() as n_threads:
        given = shard.n_jobs
        if given is None:
            shard.n_jobs = n_threads
        try:
            return getattr(shard, name)(*args.values)
        finally:
            shard.n_jobs = given


def _answers(shards, name, args):
    return [_answer(shard, name, args) for shard in shards]


# ---------------------------------------------------------------------------------------------------------------------
# Predictions


def lazily(function, X):
    """What a function gives of the chunks of X, as a lazy array.

    Parameters
    ----------
    function : callable chunk -> array (n_rows,) or (n_rows, n_outputs)
        It is called with one row first, of zeros, to learn what it gives.
    X : dask collection

    Returns
    -------
    dask.array.Array
    """
    import dask.array

    sample = function(_one_row(X))
    lengths = [math.nan] * X.npartitions if is_frame(X) else X.chunks[0]
    parts, shape, dtype = [], sample.shape[1:], sample.dtype
    predicted, function = dask.delayed(_predicted, pure=True), dask.delayed(function, pure=True)
    for block, length in zip(blocks_of(X), lengths, strict=True):
        part = predicted(function, block, shape, dtype)
        parts.append(dask.array.from_delayed(part, shape=(length, *shape), dtype=dtype))
    return dask.array.concatenate(parts, allow_unknown_chunksizes=True)


def _one_row(X):
    """A row of zeros, or of what else a frame may hold, as those of the chunks of X."""
    if is_frame(X):
        return X._meta_nonempty.iloc[:1]
    if hasattr(X._meta, "nnz"):
        return type(X._meta)((1, X.shape[1]), dtype=X.dtype)
    return np.zeros((1, X.shape[1]), X.dtype)


def _predicted(function, X, shape, dtype):
    if not X.shape[0]:
        return np.empty((0, *shape), dtype)
    if _worker() is None:
        return function(X).astype(dtype, copy=False)
    with joblib.parallel_config(n_jobs=1):  # there are as many tasks at a time as a worker has threads
        return function(X).astype(dtype, copy=False)
