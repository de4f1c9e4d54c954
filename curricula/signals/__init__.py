"""Learning-progress signals: what a step taught."""

from curricula.signals.base import Signal
from curricula.signals.first_order_prediction_gain import FirstOrderPredictionGain
from curricula.signals.gradient_l2_gain import GradientL2Gain
from curricula.signals.gradient_prediction_gain import GradientPredictionGain
from curricula.signals.gradient_variational_complexity_gain import GradientVariationalComplexityGain
from curricula.signals.l1_value_loss import L1ValueLoss
from curricula.signals.l2_gain import L2Gain
from curricula.signals.learnability import Learnability
from curricula.signals.mean_prediction_gain import MeanPredictionGain
from curricula.signals.prediction_gain import PredictionGain
from curricula.signals.reported import Reported
from curricula.signals.self_prediction_gain import SelfPredictionGain
from curricula.signals.step import Step
from curricula.signals.target_prediction_gain import TargetPredictionGain
from curricula.signals.unbiased_gradient_prediction_gain import UnbiasedGradientPredictionGain
from curricula.signals.validation_progress import ValidationProgress
from curricula.signals.variational_complexity_gain import VariationalComplexityGain

__all__ = [
    "FirstOrderPredictionGain",
    "GradientL2Gain",
    "GradientPredictionGain",
    "GradientVariationalComplexityGain",
    "L1ValueLoss",
    "L2Gain",
    "Learnability",
    "MeanPredictionGain",
    "PredictionGain",
    "Reported",
    "SelfPredictionGain",
    "Signal",
    "Step",
    "TargetPredictionGain",
    "UnbiasedGradientPredictionGain",
    "ValidationProgress",
    "VariationalComplexityGain",
]
