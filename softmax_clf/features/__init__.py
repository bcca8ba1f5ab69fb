"""Features of images as scikit-learn transformers: float32 out, bounded memory, any number of threads.

Each takes arrays of images (n, H, W, C) or (n, H, W), or rows of pixels (n, H*W*C) with ``image_shape``;
``channels_first=True`` says that the pixels come plane by plane, as CIFAR-10 stores them.
"""

from .hog import HOG
from .patch_kmeans import PatchKMeans
from .pooling import Flatten, GlobalAveragePooling

__all__ = ["HOG", "Flatten", "GlobalAveragePooling", "PatchKMeans"]
