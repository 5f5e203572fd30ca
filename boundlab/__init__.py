"""boundlab: provable compression of neural networks, told honestly.

The main job is one call, ``audit``; its stages are the verbs ``compress``, ``certify``, ``bound`` and ``verify``.
Names load on first use, so that importing boundlab is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boundlab._errors import BoundlabError as BoundlabError
    from boundlab._errors import GuaranteeViolated as GuaranteeViolated
    from boundlab._errors import InvalidParameter as InvalidParameter
    from boundlab._errors import PremiseViolated as PremiseViolated
    from boundlab._errors import UnsupportedLayer as UnsupportedLayer
    from boundlab.auditing import audit as audit
    from boundlab.bounds import CoreNetCorollary as CoreNetCorollary
    from boundlab.bounds import GeneralizationBound as GeneralizationBound
    from boundlab.bounds import Occam as Occam
    from boundlab.bounds import TestSet as TestSet
    from boundlab.bounds import bound as bound
    from boundlab.bounds.arora_margin import AroraMargin as AroraMargin
    from boundlab.bounds.bits_per_token import bits_per_token_bound as bits_per_token_bound
    from boundlab.bounds.bits_per_token import smoothed_bits as smoothed_bits
    from boundlab.bounds.bits_per_token import token_error_bound as token_error_bound
    from boundlab.bounds.bits_per_token import top_k_misses as top_k_misses
    from boundlab.bounds.counted_corollary import CountedCorollary as CountedCorollary
    from boundlab.bounds.drawn_net import DrawnNet as DrawnNet
    from boundlab.bounds.fixed_features import LinearHead as LinearHead
    from boundlab.bounds.gaussian_posterior import GaussianPosterior as GaussianPosterior
    from boundlab.bounds.gibbs import Gibbs as Gibbs
    from boundlab.bounds.gibbs import PacBayesForm as PacBayesForm
    from boundlab.bounds.graph_nets import GraphDomain as GraphDomain
    from boundlab.bounds.graph_nets import coded_graph_net as coded_graph_net
    from boundlab.bounds.graph_nets import graph_occam as graph_occam
    from boundlab.bounds.graph_nets import graph_pac_bayes as graph_pac_bayes
    from boundlab.bounds.heavy_tailed import HeavyTailed as HeavyTailed
    from boundlab.bounds.informed import InformedPrior as InformedPrior
    from boundlab.bounds.measures import AroraCapacity as AroraCapacity
    from boundlab.bounds.measures import complexity_measures as complexity_measures
    from boundlab.bounds.occam_pyramid import OccamPyramid as OccamPyramid
    from boundlab.bounds.parameter_count import ParameterCover as ParameterCover
    from boundlab.bounds.parameter_count import StoredBits as StoredBits
    from boundlab.bounds.path_norm import PathNorm as PathNorm
    from boundlab.bounds.perturbation import PerturbedWeights as PerturbedWeights
    from boundlab.bounds.sample_compression import SampleCompression as SampleCompression
    from boundlab.bounds.sampled_net import SampledNet as SampledNet
    from boundlab.bounds.size_independent import FrobeniusNorm as FrobeniusNorm
    from boundlab.bounds.size_independent import L1Norm as L1Norm
    from boundlab.bounds.spectral import SpectralMargin as SpectralMargin
    from boundlab.bounds.transfer import SpectralTransfer as SpectralTransfer
    from boundlab.bounds.transfer import UnlabelledTransfer as UnlabelledTransfer
    from boundlab.certificates import certify as certify
    from boundlab.comparing import Compared as Compared
    from boundlab.comparing import Comparison as Comparison
    from boundlab.comparing import compare as compare
    from boundlab.compressors.baselines import L1Sampling as L1Sampling
    from boundlab.compressors.baselines import L2Sampling as L2Sampling
    from boundlab.compressors.baselines import LayerMagnitude as LayerMagnitude
    from boundlab.compressors.baselines import Magnitude as Magnitude
    from boundlab.compressors.baselines import MixedSampling as MixedSampling
    from boundlab.compressors.baselines import Uniform as Uniform
    from boundlab.compressors.constants import Constants as Constants
    from boundlab.compressors.constants import constants as constants
    from boundlab.compressors.corenet import CoreNet as CoreNet
    from boundlab.compressors.corenet import CoreNetAdditive as CoreNetAdditive
    from boundlab.compressors.corenet import CoreNetBudget as CoreNetBudget
    from boundlab.compressors.corenet import CoreNetRelative as CoreNetRelative
    from boundlab.compressors.corenet_neurons import Amplified as Amplified
    from boundlab.compressors.corenet_neurons import CoreNetPlus as CoreNetPlus
    from boundlab.compressors.corenet_neurons import CoreNetPlusBudget as CoreNetPlusBudget
    from boundlab.compressors.corenet_neurons import CoreNetPlusPlus as CoreNetPlusPlus
    from boundlab.compressors.corenet_neurons import amplify as amplify
    from boundlab.compressors.corenet_neurons import clean_network as clean_network
    from boundlab.compressors.filter_baselines import L1Filters as L1Filters
    from boundlab.compressors.filter_baselines import L2Filters as L2Filters
    from boundlab.compressors.filter_baselines import LargestFilters as LargestFilters
    from boundlab.compressors.filter_baselines import UniformFilters as UniformFilters
    from boundlab.compressors.method import ChannelCompression as ChannelCompression
    from boundlab.compressors.method import ChannelCompressor as ChannelCompressor
    from boundlab.compressors.method import Compressor as Compressor
    from boundlab.compressors.method import ModuleCompression as ModuleCompression
    from boundlab.compressors.method import compress as compress
    from boundlab.compressors.method import redraw as redraw
    from boundlab.compressors.neuron_coresets import Importance as Importance
    from boundlab.compressors.neuron_coresets import NeuronCoreset as NeuronCoreset
    from boundlab.compressors.neuron_coresets import NeuronCoresetBudget as NeuronCoresetBudget
    from boundlab.compressors.neuron_coresets import NeuronCoresetPublished as NeuronCoresetPublished
    from boundlab.compressors.pfp import PFP as PFP
    from boundlab.compressors.pfp import PFPBudget as PFPBudget
    from boundlab.compressors.sipp import SiPP as SiPP
    from boundlab.compressors.sipp import SiPPDet as SiPPDet
    from boundlab.compressors.sipp import SiPPHybrid as SiPPHybrid
    from boundlab.compressors.sipp import SiPPRand as SiPPRand
    from boundlab.compressors.sipp import SiPPThreshold as SiPPThreshold
    from boundlab.compressors.snip import SNIP as SNIP
    from boundlab.compressors.sup_promise import EverywhereError as EverywhereError
    from boundlab.compressors.sup_promise import SupPromise as SupPromise
    from boundlab.compressors.sup_promise import everywhere_errors as everywhere_errors
    from boundlab.compressors.sup_promise import full_size as full_size
    from boundlab.compressors.sup_promise import sup_promise as sup_promise
    from boundlab.compressors.sup_promise import worst_case as worst_case
    from boundlab.compressors.svd import SVD as SVD
    from boundlab.compressors.svd import LowRank as LowRank
    from boundlab.compressors.worst_case import WorstCase as WorstCase
    from boundlab.compressors.worst_case import worst_case_error as worst_case_error
    from boundlab.coresets.layer_coreset import LayerCoreset as LayerCoreset
    from boundlab.coresets.layer_coreset import layer_coreset as layer_coreset
    from boundlab.coresets.sensitivity_sampling import Rule as Rule
    from boundlab.coresets.sensitivity_sampling import certified_eps as certified_eps
    from boundlab.coresets.sensitivity_sampling import sample_size as sample_size
    from boundlab.data import DataSet as DataSet
    from boundlab.data import load_data as load_data
    from boundlab.findings import Audit as Audit
    from boundlab.holdout import certify_on_holdout as certify_on_holdout
    from boundlab.ledger import Ledger as Ledger
    from boundlab.ledger import LedgerEntry as LedgerEntry
    from boundlab.ledger import theorems as theorems
    from boundlab.nets.architectures import lenet5 as lenet5
    from boundlab.nets.architectures import resnet as resnet
    from boundlab.nets.as_feedforward import as_feed_forward as as_feed_forward
    from boundlab.nets.export import Exported as Exported
    from boundlab.nets.export import export as export
    from boundlab.nets.feedforward import FeedForward as FeedForward
    from boundlab.nets.folding import Folded as Folded
    from boundlab.nets.folding import fold_batchnorm as fold_batchnorm
    from boundlab.nets.graphs import Graph as Graph
    from boundlab.nets.graphs import GraphConvolution as GraphConvolution
    from boundlab.nets.load import as_network as as_network
    from boundlab.nets.load import load_network as load_network
    from boundlab.nets.load_module import load_module as load_module
    from boundlab.nets.message_passing import LipschitzMap as LipschitzMap
    from boundlab.nets.message_passing import MessagePassing as MessagePassing
    from boundlab.nets.module_net import ModuleNet as ModuleNet
    from boundlab.nets.net_message import NetMessage as NetMessage
    from boundlab.nets.net_message import decode as decode
    from boundlab.nets.net_message import encode as encode
    from boundlab.nets.prepared import prepared as prepared
    from boundlab.nets.propagate import Schedule as Schedule
    from boundlab.nets.toy import random_network as random_network
    from boundlab.nets.toy import train_mlp as train_mlp
    from boundlab.network import Layer as Layer
    from boundlab.network import Network as Network
    from boundlab.promises import Bound as Bound
    from boundlab.promises import Certificate as Certificate
    from boundlab.promises import Premise as Premise
    from boundlab.promises import Standing as Standing
    from boundlab.promises import Status as Status
    from boundlab.rank_statistics import conditional_information as conditional_information
    from boundlab.rank_statistics import granulated_tau as granulated_tau
    from boundlab.rank_statistics import kendall_tau as kendall_tau
    from boundlab.rank_statistics import sign_errors as sign_errors
    from boundlab.ranking import Ranked as Ranked
    from boundlab.ranking import Ranking as Ranking
    from boundlab.ranking import Score as Score
    from boundlab.ranking import rank_measures as rank_measures
    from boundlab.records import Compression as Compression
    from boundlab.records import Coreset as Coreset
    from boundlab.records import Groups as Groups
    from boundlab.records import Law as Law
    from boundlab.records import SamplePlan as SamplePlan
    from boundlab.records import Sensitivities as Sensitivities
    from boundlab.retraining import Retrained as Retrained
    from boundlab.retraining import Training as Training
    from boundlab.retraining import fine_tune as fine_tune
    from boundlab.retraining import prune_retrain as prune_retrain
    from boundlab.risk_certificates import Checked as Checked
    from boundlab.risk_certificates import RiskCertificate as RiskCertificate
    from boundlab.risk_certificates import check_certificate as check_certificate
    from boundlab.risk_certificates import issue_certificate as issue_certificate
    from boundlab.risk_certificates import read_certificate as read_certificate
    from boundlab.verification import Claim as Claim
    from boundlab.verification import Interrupted as Interrupted
    from boundlab.verification import Method as Method
    from boundlab.verification import Outcome as Outcome
    from boundlab.verification import Over as Over
    from boundlab.verification import ProcessPool as ProcessPool
    from boundlab.verification import State as State
    from boundlab.verification import Verdict as Verdict
    from boundlab.verification import replay as replay
    from boundlab.verification import verify as verify
    from boundlab.verification.crossed import CrossedVerdict as CrossedVerdict
    from boundlab.verification.crossed import verify_crossed as verify_crossed
    from boundlab.verification.evidence_ledger import EvidenceLedger as EvidenceLedger
    from boundlab.verification.levels import Levels as Levels
    from boundlab.verification.levels import largest_level as largest_level
    from boundlab.verification.levels import verify_levels as verify_levels
    from boundlab.verification.planning import Detectable as Detectable
    from boundlab.verification.planning import TrialPlan as TrialPlan
    from boundlab.verification.planning import detectable as detectable
    from boundlab.verification.planning import plan_trials as plan_trials
    from boundlab.verification.points import PointVerdicts as PointVerdicts
    from boundlab.verification.points import searched_point as searched_point
    from boundlab.verification.points import verify_at_points as verify_at_points
    from boundlab.verification.rare import RareFailure as RareFailure
    from boundlab.verification.rare import rare_failure as rare_failure
    from boundlab.verification.rare import rare_failure_of as rare_failure_of
    from boundlab.verification.running.clusters import dask_executor as dask_executor
    from boundlab.verification.running.clusters import submitit_executor as submitit_executor
    from boundlab.verification.solving import Tightness as Tightness
    from boundlab.verification.solving import solve as solve
    from boundlab.verification.splitting import SplittingEstimate as SplittingEstimate
    from boundlab.verification.splitting import splitting_estimate as splitting_estimate
    from boundlab.verification.splitting import splitting_failure_of as splitting_failure_of
    from boundlab.verification.tilted_sums import SampledSum as SampledSum
    from boundlab.verification.trials import AtPoint as AtPoint
    from boundlab.verification.trials import Everywhere as Everywhere
    from boundlab.verification.trials import FreshPairs as FreshPairs
    from boundlab.verification.trials import OverSet as OverSet
    from boundlab.verification.trials import Searched as Searched
    from boundlab.verification.trials import SharedInputs as SharedInputs
    from boundlab.verification.trials import nested_trial as nested_trial

__version__ = "0.1.0"

PUBLIC: dict[str, tuple[str, ...]] = {
    # the main job
    "boundlab.auditing": ("audit",),
    "boundlab.findings": ("Audit",),
    # nets and data
    "boundlab.network": ("Network", "Layer"),
    "boundlab.nets.load": ("load_network", "as_network"),
    "boundlab.nets.toy": ("train_mlp", "random_network"),
    "boundlab.data": ("load_data", "DataSet"),
    "boundlab.nets.load_module": ("load_module",),
    "boundlab.nets.architectures": ("resnet", "lenet5"),
    "boundlab.nets.module_net": ("ModuleNet",),
    "boundlab.nets.folding": ("fold_batchnorm", "Folded"),
    "boundlab.nets.export": ("export", "Exported"),
    "boundlab.nets.graphs": ("Graph", "GraphConvolution"),
    "boundlab.nets.message_passing": ("LipschitzMap", "MessagePassing"),
    # compress
    "boundlab.compressors.method": (
        "compress",
        "redraw",
        "Compressor",
        "ModuleCompression",
        "ChannelCompression",
        "ChannelCompressor",
    ),
    "boundlab.compressors.corenet": ("CoreNet", "CoreNetRelative", "CoreNetAdditive", "CoreNetBudget"),
    "boundlab.compressors.constants": ("constants", "Constants"),
    "boundlab.coresets.sensitivity_sampling": ("sample_size", "certified_eps", "Rule"),
    "boundlab.nets.propagate": ("Schedule",),
    "boundlab.compressors.sipp": ("SiPP", "SiPPDet", "SiPPRand", "SiPPHybrid", "SiPPThreshold"),
    "boundlab.compressors.pfp": ("PFP", "PFPBudget"),
    "boundlab.compressors.filter_baselines": ("UniformFilters", "L1Filters", "L2Filters", "LargestFilters"),
    "boundlab.compressors.baselines": (
        "Magnitude",
        "LayerMagnitude",
        "Uniform",
        "L1Sampling",
        "L2Sampling",
        "MixedSampling",
    ),
    "boundlab.compressors.snip": ("SNIP",),
    "boundlab.compressors.svd": ("SVD", "LowRank"),
    "boundlab.retraining": ("fine_tune", "prune_retrain", "Training", "Retrained"),
    "boundlab.compressors.neuron_coresets": (
        "NeuronCoreset",
        "NeuronCoresetPublished",
        "NeuronCoresetBudget",
        "Importance",
    ),
    "boundlab.compressors.sup_promise": (
        "sup_promise",
        "SupPromise",
        "worst_case",
        "everywhere_errors",
        "EverywhereError",
        "full_size",
    ),
    "boundlab.compressors.worst_case": ("worst_case_error", "WorstCase"),
    "boundlab.compressors.corenet_neurons": (
        "CoreNetPlus",
        "CoreNetPlusBudget",
        "CoreNetPlusPlus",
        "amplify",
        "Amplified",
        "clean_network",
    ),
    "boundlab.coresets.layer_coreset": ("layer_coreset", "LayerCoreset"),
    # certify
    "boundlab.certificates": ("certify",),
    "boundlab.holdout": ("certify_on_holdout",),
    # bound
    "boundlab.bounds": ("bound", "GeneralizationBound", "Occam", "TestSet", "CoreNetCorollary"),
    "boundlab.bounds.arora_margin": ("AroraMargin",),
    "boundlab.bounds.counted_corollary": ("CountedCorollary",),
    "boundlab.bounds.drawn_net": ("DrawnNet",),
    "boundlab.bounds.fixed_features": ("LinearHead",),
    "boundlab.bounds.gaussian_posterior": ("GaussianPosterior",),
    "boundlab.bounds.gibbs": ("Gibbs", "PacBayesForm"),
    "boundlab.bounds.heavy_tailed": ("HeavyTailed",),
    "boundlab.bounds.informed": ("InformedPrior",),
    "boundlab.bounds.measures": ("AroraCapacity", "complexity_measures"),
    "boundlab.bounds.occam_pyramid": ("OccamPyramid",),
    "boundlab.bounds.parameter_count": ("ParameterCover", "StoredBits"),
    "boundlab.bounds.path_norm": ("PathNorm",),
    "boundlab.bounds.perturbation": ("PerturbedWeights",),
    "boundlab.bounds.sample_compression": ("SampleCompression",),
    "boundlab.bounds.sampled_net": ("SampledNet",),
    "boundlab.bounds.size_independent": ("FrobeniusNorm", "L1Norm"),
    "boundlab.bounds.spectral": ("SpectralMargin",),
    "boundlab.bounds.transfer": ("SpectralTransfer", "UnlabelledTransfer"),
    "boundlab.bounds.graph_nets": ("GraphDomain", "coded_graph_net", "graph_occam", "graph_pac_bayes"),
    "boundlab.bounds.bits_per_token": ("bits_per_token_bound", "smoothed_bits", "token_error_bound", "top_k_misses"),
    "boundlab.comparing": ("compare", "Comparison", "Compared"),
    "boundlab.ranking": ("rank_measures", "Ranking", "Ranked", "Score"),
    "boundlab.rank_statistics": ("kendall_tau", "granulated_tau", "conditional_information", "sign_errors"),
    # certificates of risk, as files
    "boundlab.nets.feedforward": ("FeedForward",),
    "boundlab.nets.as_feedforward": ("as_feed_forward",),
    "boundlab.nets.prepared": ("prepared",),
    "boundlab.nets.net_message": ("NetMessage", "decode", "encode"),
    "boundlab.risk_certificates": (
        "Checked",
        "RiskCertificate",
        "check_certificate",
        "issue_certificate",
        "read_certificate",
    ),
    # verify
    "boundlab.verification": (
        "verify",
        "replay",
        "Claim",
        "Over",
        "Outcome",
        "Verdict",
        "State",
        "Method",
        "ProcessPool",
        "Interrupted",
    ),
    "boundlab.verification.trials": (
        "FreshPairs",
        "AtPoint",
        "Everywhere",
        "Searched",
        "nested_trial",
        "SharedInputs",
        "OverSet",
    ),
    "boundlab.verification.points": ("searched_point", "verify_at_points", "PointVerdicts"),
    "boundlab.verification.crossed": ("verify_crossed", "CrossedVerdict"),
    "boundlab.verification.levels": ("verify_levels", "largest_level", "Levels"),
    "boundlab.verification.solving": ("solve", "Tightness"),
    "boundlab.verification.planning": ("plan_trials", "detectable", "TrialPlan", "Detectable"),
    "boundlab.verification.rare": ("rare_failure", "rare_failure_of", "RareFailure"),
    "boundlab.verification.tilted_sums": ("SampledSum",),
    "boundlab.verification.splitting": ("splitting_estimate", "splitting_failure_of", "SplittingEstimate"),
    "boundlab.verification.evidence_ledger": ("EvidenceLedger",),
    "boundlab.verification.running.clusters": ("dask_executor", "submitit_executor"),
    # the theorem ledger
    "boundlab.ledger": ("theorems", "Ledger", "LedgerEntry"),
    # records
    "boundlab.promises": ("Bound", "Certificate", "Premise", "Standing", "Status"),
    "boundlab.records": (
        "Compression",
        "Coreset",
        "Groups",
        "Law",
        "SamplePlan",
        "Sensitivities",
    ),
    # errors
    "boundlab._errors": (
        "BoundlabError",
        "GuaranteeViolated",
        "InvalidParameter",
        "PremiseViolated",
        "UnsupportedLayer",
    ),
}
"""The public names by stage, and where each is defined."""

_HOME = {name: module for module, names in PUBLIC.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'boundlab' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
