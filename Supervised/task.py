"""The supervised task: one view of every image, its label, and the accuracy of the classifier that is trained."""

from __future__ import annotations

from torch import Tensor

from common.metrics.accuracy import top1
from common.training.frozen import features_of
from common.training.pretraining_task import PretrainingTask
from common.training.views import Batch
from Supervised.config import SupervisedConfig
from Supervised.objective import cross_entropy


class SupervisedTask(PretrainingTask):
    """Classification of the training images; the head is a linear classifier, judged along with the backbone."""

    config: SupervisedConfig
    main_metric = "top1_accuracy"
    judges_head = True

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return {"total": cross-entropy} of this process's images."""
        (images,), labels = batch
        return {"total": cross_entropy(self.forward(images), labels, smoothing=self.config.objective.label_smoothing)}

    def evaluate(self, split: str) -> dict[str, float]:
        """Return the probe's metrics, and the classifier's accuracy on images without augmentation."""
        images = self.images[split]
        logits_NK = features_of(self.network, images, self.views.input, images.device)
        return {"top1_accuracy": top1(logits_NK, images.labels), **super().evaluate(split)}
