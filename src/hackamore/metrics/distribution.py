"""How far two sets of pictures are apart, measured on features N×D of theirs.

A figure belongs to the network that gave the features: figures of different networks cannot be compared. Both need the
package torchmetrics (extra ``eval``).
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from hackamore.core.errors import HackamoreError
from hackamore.core.extras import require

SUBSETS, SUBSET_SIZE = 100, 1000


def frechet_distance(found: Tensor, true: Tensor) -> float:
    """Fréchet distance of the normal distributions fitted to two sets of features (Heusel et al. 2017, eq. 6).

    |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), 0 for equal sets. It falls with the number of pictures, so only figures of
    equally many can be compared. At least two pictures a set.
    """
    fid = require("torchmetrics.image.fid", "eval", "the Fréchet distance")
    _check(found, true)
    metric = fid.FrechetInceptionDistance(feature=_Given(true.shape[1]))
    metric.update(true.double(), real=True)
    metric.update(found.double(), real=False)
    return float(metric.compute())


def kernel_distance(found: Tensor, true: Tensor, subset: int = SUBSET_SIZE, seed: int = 0) -> float:
    """Kernel distance (KID, Bińkowski et al. 2018, §4): the squared maximum mean discrepancy, unbiased.

    Kernel (x·y ÷ D + 1)³; the mean over 100 random subsets of ``subset`` pictures, drawn with ``seed``, or the whole
    sets where they are no larger. About 0 for equal distributions, and below 0 by chance.
    """
    kid = require("torchmetrics.image.kid", "eval", "the kernel distance")
    _check(found, true)
    whole = max(len(found), len(true)) <= subset
    size = min(subset, len(found), len(true))
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # it warns that it keeps all features, which we hold already
        torch.manual_seed(seed)
        metric = kid.KernelInceptionDistance(
            feature=_Given(true.shape[1]), subsets=1 if whole and len(found) == len(true) else SUBSETS, subset_size=size
        )
        metric.update(true.double(), real=True)
        metric.update(found.double(), real=False)
        return float(metric.compute()[0])


def inception_distances(found: Tensor, true: Tensor) -> tuple[float, float]:
    """(FID, KID) of two sets of pictures N×3×H×W uint8 on Inception v3's features, as the field quotes them.

    Needs the package torch-fidelity, which brings those weights; an error says so where it is missing.
    """
    _check(found, true)
    require_inception()
    fid = require("torchmetrics.image.fid", "eval", "the Fréchet distance").FrechetInceptionDistance(feature=2048)
    network = fid.inception
    x, y = (torch.cat([network(some[k : k + 16]) for k in range(0, len(some), 16)]) for some in (found, true))
    return frechet_distance(x, y), kernel_distance(x, y)


def require_inception() -> None:
    """Raise :class:`HackamoreError` where the package that brings Inception's weights is missing."""
    if find_spec("torch_fidelity") is None:
        raise HackamoreError(
            "distances on Inception's features need the package torch-fidelity, which is not installed",
            remedy="pip install torch-fidelity (it needs torchvision), or leave them out",
        )


class _Given(nn.Module):
    """A feature network for features that are there already."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, features: Tensor) -> Tensor:
        return features


def _check(found: Tensor, true: Tensor) -> None:
    if min(len(found), len(true)) < 2:
        raise HackamoreError(
            "a distance between sets of pictures needs two pictures a set", received=f"{len(found)} and {len(true)}"
        )
