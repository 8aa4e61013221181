"""Pure tensor functions: losses per sample, targets, smoothness, label noise. Usually imported as ``AF``."""

from alasca.functional.losses import cross_entropy as cross_entropy
from alasca.functional.losses import label_smoothing as label_smoothing
from alasca.functional.losses import smoothed_cross_entropy as smoothed_cross_entropy
from alasca.functional.losses import soft_cross_entropy as soft_cross_entropy
from alasca.functional.noise import symmetric_noise as symmetric_noise
from alasca.functional.smoothness import als as als
from alasca.functional.smoothness import smoothness as smoothness
from alasca.functional.targets import agreed_labels as agreed_labels
from alasca.functional.targets import confidence as confidence
