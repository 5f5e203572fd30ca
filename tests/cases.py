"""The tables that the tests are parametrised over: a new method is one row here."""

from __future__ import annotations

import numpy as np

from boundlab.bounds import CoreNetCorollary, GeneralizationBound, Occam, TestSet
from boundlab.bounds.arora_margin import AroraMargin
from boundlab.bounds.counted_corollary import CountedCorollary
from boundlab.bounds.drawn_net import DrawnNet
from boundlab.bounds.fixed_features import LinearHead
from boundlab.bounds.gibbs import Gibbs
from boundlab.bounds.heavy_tailed import HeavyTailed
from boundlab.bounds.informed import InformedPrior
from boundlab.bounds.measures import AroraCapacity
from boundlab.bounds.occam_pyramid import OccamPyramid
from boundlab.bounds.parameter_count import ParameterCover, StoredBits
from boundlab.bounds.path_norm import PathNorm
from boundlab.bounds.perturbation import PerturbedWeights
from boundlab.bounds.sample_compression import SampleCompression
from boundlab.bounds.sampled_net import SampledNet
from boundlab.bounds.size_independent import FrobeniusNorm, L1Norm
from boundlab.bounds.spectral import SpectralMargin
from boundlab.bounds.transfer import SpectralTransfer, UnlabelledTransfer
from boundlab.compressors.baselines import L1Sampling, L2Sampling, LayerMagnitude, Magnitude, MixedSampling, Uniform
from boundlab.compressors.corenet import CoreNet, CoreNetAdditive, CoreNetBudget, CoreNetRelative
from boundlab.compressors.corenet_neurons import CoreNetPlus, CoreNetPlusBudget, CoreNetPlusPlus
from boundlab.compressors.filter_baselines import L1Filters, L2Filters, LargestFilters, UniformFilters
from boundlab.compressors.method import Method
from boundlab.compressors.neuron_coresets import NeuronCoreset, NeuronCoresetBudget, NeuronCoresetPublished
from boundlab.compressors.pfp import PFP, PFPBudget
from boundlab.compressors.sipp import SiPP, SiPPDet, SiPPHybrid, SiPPRand, SiPPThreshold
from boundlab.compressors.snip import SNIP
from boundlab.nets.toy import random_network

POINTS = 200
"""Calibration points that the methods of this table are given."""

METHODS: list[Method] = [
    CoreNet(eps=0.5, delta=0.1),
    CoreNetRelative(eps=0.5, delta=0.1),
    CoreNetAdditive(eps=0.5, delta=0.1),
    CoreNetBudget(nnz=200, delta=0.1),
    SiPPDet(nnz=200, delta=0.1),
    SiPPRand(nnz=200, delta=0.1),
    SiPPHybrid(nnz=200, delta=0.1),
    SiPP(nnz=200, delta=0.1),
    SiPPThreshold(nnz=200, delta=0.1),
    CoreNetPlus(eps=0.5, delta=0.1),
    CoreNetPlusBudget(share=0.5, delta=0.1),
    CoreNetPlusPlus(eps=0.5, delta=0.1),
    NeuronCoreset(radius=1e3),
    NeuronCoresetPublished(radius=1e3),
    NeuronCoresetBudget(radius=1e3, share=0.5),
    PFP(eps=0.5, delta=0.1),
    PFPBudget(parameters=300, delta=0.1),
    Magnitude(nnz=200),
    LayerMagnitude(nnz=200),
    Uniform(nnz=200),
    L1Sampling(nnz=200),
    L2Sampling(nnz=200),
    MixedSampling(nnz=200),
    SNIP(nnz=200, labels=np.arange(POINTS) % 3),
    UniformFilters(parameters=300),
    L1Filters(parameters=300),
    L2Filters(parameters=300),
    LargestFilters(parameters=300),
]

BOUND_SIZES = (6, 8, 3)
"""The net that the bounds of this table are evaluated on."""

BOUNDS: list[GeneralizationBound] = [
    TestSet(),
    Occam(),
    OccamPyramid(trials=6),
    SampledNet(trials=4, tries=2),
    StoredBits(),
    ParameterCover(),
    HeavyTailed(),
    SampleCompression(kept=range(20)),
    Gibbs(pairs=2_048),
    DrawnNet(),
    InformedPrior(prior=random_network(BOUND_SIZES, rng=0), prior_examples=100, pairs=2_048),
    AroraMargin(),
    CoreNetCorollary(),
    CountedCorollary(),
    UnlabelledTransfer(unlabelled=np.random.default_rng(7).random((300, 6))),
    SpectralTransfer(radius=3.0),
    LinearHead(features_fixed=True),
    SpectralMargin(),
    PerturbedWeights(),
    FrobeniusNorm(),
    L1Norm(),
    PathNorm(),
    AroraCapacity(),
]
