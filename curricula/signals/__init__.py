"""Learning-progress signals: what a step taught."""

from curricula.signals.base import Signal
from curricula.signals.gradient_prediction_gain import GradientPredictionGain
from curricula.signals.prediction_gain import PredictionGain
from curricula.signals.step import Step

__all__ = ["GradientPredictionGain", "PredictionGain", "Signal", "Step"]
