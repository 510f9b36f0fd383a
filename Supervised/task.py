"""The supervised task: one view of every image, its label, a linear classifier, and the accuracy of that classifier."""

from __future__ import annotations

from torch import Tensor

from common.config import require
from common.data.datasets import require_labels
from common.metrics.accuracy import top1
from common.models.heads import Network, linear_head
from common.training.frozen import features_of
from common.training.given_head import load_given_classifier_
from common.training.pretraining import Setting
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
        logits_NK = features_of(self.network, images, self.probe.input, self.probe.device)
        return {"top1_accuracy": top1(logits_NK, images.labels), **super().evaluate(split)}


def build_task(setting: Setting) -> SupervisedTask:
    """Put a linear classifier on the backbone, the one of `start.weights` where it fits, and make the task.

    Raises:
        InputError: fewer than two classes, or training images without labels.
    """
    config, dataset = setting.config, setting.dataset
    require(len(dataset.classes) >= 2, "data.name", dataset.name, "at least two classes to tell apart")
    require_labels(dataset)
    head = linear_head(int(setting.backbone.num_features), len(dataset.classes), seed=setting.seed)
    load_given_classifier_(head, setting.backbone, setting.start, config.start.head)
    network = Network(setting.backbone, head.to(setting.device))
    return SupervisedTask(config, network, dataset, setting.device, setting.seed, views=1)
