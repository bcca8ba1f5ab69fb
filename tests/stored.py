"""Arrays in the stores that rows are read from in slices."""

import numpy as np
import pytest


def mapped(folder, X, order="C"):
    path = folder / "X.npy"
    np.save(path, np.asarray(X, order=order))
    return np.load(path, mmap_mode="r")


def in_h5py(folder, X):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "X.h5", "w") as file:
        file.create_dataset("X", data=X, chunks=(100, X.shape[1]))
    return h5py.File(folder / "X.h5")["X"]


def in_zarr(folder, X):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(store=str(folder / "X.zarr"), shape=X.shape, chunks=(100, X.shape[1]), dtype=X.dtype)
    array[:] = X
    return zarr.open_array(str(folder / "X.zarr"), mode="r")
