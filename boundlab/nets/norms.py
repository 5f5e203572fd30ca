"""Norms that generalization bounds are stated in: of matrices, of paths through a net, of convolutions."""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.network import Network

_UP = 1.0 + 1e-12  # norms are rounded up: LAPACK's singular values and sums of n terms are off by far less


@implements("bartlett2017_spectral")
def spectral_norm(weight: np.ndarray) -> float:
    """Return the largest singular value of a matrix (out, in), rounded up."""
    return float(np.linalg.norm(_matrix(weight), 2)) * _UP


@implements("bartlett2017_spectral")
def group_norm(weight: np.ndarray) -> float:
    """Return |W^T|_{2,1}: the sum over the rows of W, one per output neuron, of their Euclidean norms, rounded up."""
    return float(np.linalg.norm(_matrix(weight), axis=1).sum()) * _UP


def frobenius_norm(weight: np.ndarray) -> float:
    """Return the Euclidean norm of all entries, rounded up."""
    return float(np.linalg.norm(_matrix(weight))) * _UP


@implements("neyshabur2015_path_norm")
def path_norm(network: Network, p: float = 1.0) -> float:
    """Return the p-norm of all path weights, (sum over paths of prod |w|^p)^(1/p), the largest over the outputs.

    One forward pass of |W|^p on ones. Rescaling a neuron, its row by t > 0 and its column by 1/t, leaves it unchanged.
    Biases are left out: the bound that uses it is for nets without.

    Raises
    ------
    InvalidParameter
        If p is below 1 or infinite.
    """
    if not 1.0 <= p < np.inf:
        raise InvalidParameter(f"p must be at least 1 and finite, got p={p!r}.")
    flow, scale = np.ones(network.sizes[0]), 1.0
    for layer in network.layers:
        top = float(np.abs(layer.weight).max())  # divided out: |w|^p would underflow to 0 for large p
        if top == 0.0:
            return 0.0
        flow, scale = (np.abs(layer.weight) / top) ** p @ flow, scale * top
    return scale * float(flow.max()) ** (1.0 / p) * _UP


@implements("sedghi2019_convolution_norm")
def convolution_norm(kernel: np.ndarray, height: int, width: int) -> float:
    """Return the operator norm of a circular convolution of stride 1: the largest over frequencies of |K_hat(f)|.

    Parameters
    ----------
    kernel : array (out, in, kh, kw)
    height, width : int
        Of the input map, at least the kernel's.

    Returns
    -------
    float
        Rounded up. The convolution with zero padding is a compression of a circular one on a larger map, so that its
        norm is at most the value at height + kh - 1, width + kw - 1.

    Raises
    ------
    InvalidParameter
        If the kernel is not 4-dimensional or larger than the map.

    Notes
    -----
    Source: Sedghi, Gupta and Long (2019), as we understand the paper; ``proofs_checks/sedghi2019_convolution_norm.py``.
    """
    k = _kernel(kernel)
    if k.shape[2] > height or k.shape[3] > width:
        raise InvalidParameter(f"the map must be at least as large as the kernel, got {height} x {width}, {k.shape}.")
    frequencies = np.fft.fft2(k, (height, width)).transpose(2, 3, 0, 1)  # (height, width, out, in)
    return float(np.linalg.norm(frequencies, 2, axis=(-2, -1)).max()) * _UP


@implements("sedghi2019_convolution_norm")
def flattened_kernel_norm(kernel: np.ndarray) -> float:
    """Return the spectral norm of the kernel as a matrix (out, in kh kw): NOT the norm of the convolution.

    The convolution's lies between it and sqrt(kh kw) times it; used as if it were the norm, it makes "bounds" that are
    none. Kept to show that.
    """
    k = _kernel(kernel)
    return float(np.linalg.norm(k.reshape(len(k), -1), 2))


def _matrix(weight: np.ndarray) -> np.ndarray:
    w = np.asarray(weight, np.float64)
    if w.ndim != 2 or not w.size:
        raise InvalidParameter(f"weight must be a matrix (out, in), got shape {w.shape}.")
    return w


def _kernel(kernel: np.ndarray) -> np.ndarray:
    k = np.asarray(kernel, np.float64)
    if k.ndim != 4 or not k.size:
        raise InvalidParameter(f"kernel must be an array (out, in, kh, kw), got shape {k.shape}.")
    return k
