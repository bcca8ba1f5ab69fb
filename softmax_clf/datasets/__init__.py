"""Data sets: CIFAR-10, and embeddings in files of Parquet and Arrow."""

from .cifar10 import fetch_cifar10, load_cifar10
from .parquet import open_parquet

__all__ = ["fetch_cifar10", "load_cifar10", "open_parquet"]
