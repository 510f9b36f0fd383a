"""The SimCLR task: two views of every image, a projection head, and the contrastive loss between the views."""

from __future__ import annotations

import torch
from torch import Tensor

from common.models.heads import Network, projection_head
from common.training.given_head import load_projection_
from common.training.pretraining import Setting
from common.training.pretraining_task import PretrainingTask
from common.training.views import Batch
from SimCLR.config import SimCLRConfig
from SimCLR.objective import nt_xent


class SimCLRTask(PretrainingTask):
    """Contrastive pre-training; labels only judge the k-NN classifier, never the weights."""

    config: SimCLRConfig

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return {"total": NT-Xent} of this process's views among those of all processes."""
        views, _ = batch
        first, second = self.forward(torch.cat(views)).chunk(2)
        return {"total": nt_xent(first, second, temperature=self.config.objective.temperature)}


def build_task(setting: Setting) -> SimCLRTask:
    """Put a projection head on the backbone and make the task."""
    head = projection_head(int(setting.backbone.num_features), setting.config.objective.head, seed=setting.seed)
    load_projection_(head, setting.start, setting.config.start.head, "simclr")
    network = Network(setting.backbone, head.to(setting.device))
    return SimCLRTask(setting.config, network, setting.dataset, setting.device, setting.seed, views=2)
