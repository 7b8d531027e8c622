"""The training loop.

Axes: B videos of a step, b of a micro-batch, V views (1 in training), T frames, H x W pixels, K classes, D embedding.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import AdamW

from vitaclip.config import TrainConfig, to_dict
from vitaclip.data import TrainBatch
from vitaclip.model import VitaCLIP
from vitaclip.train.checkpoint import CheckpointStore
from vitaclip.train.loggers import BadVideoList, Logger, Metrics
from vitaclip.train.schedule import cosine


class Trainer:
    """Teaches the prompts of a model; its collaborators arrive built (see `vitaclip.train.build`)."""

    def __init__(
        self,
        *,
        model: VitaCLIP,
        class_names: Sequence[str],
        batches: Callable[[int, int], Iterable[TrainBatch]],
        validate: Callable[[], Metrics] | None,
        optimizer: AdamW,
        autocast: Callable[[], AbstractContextManager[object]],
        checkpoints: CheckpointStore,
        loggers: Sequence[Logger],
        bad_videos: BadVideoList,
        config: TrainConfig,
        step: int = 0,
    ) -> None:
        """Collect what training needs.

        Args:
            model: the model, on its device.
            class_names: the K classes that labels count through.
            batches: gives the batches of the steps from a first to a last one (excluded).
            validate: scores the model on the validation videos.
            optimizer: over the trained parameters.
            autocast: context of the forward pass.
            checkpoints: where state is saved.
            loggers: where metrics go.
            bad_videos: where videos that could not be read are listed.
            config: the run.
            step: steps already done; more than 0 when resuming.
        """
        self.model = model
        self.class_names = class_names
        self.batches = batches
        self.validate = validate
        self.optimizer = optimizer
        self.autocast = autocast
        self.checkpoints = checkpoints
        self.loggers = list(loggers)
        self.bad_videos = bad_videos
        self.config = config
        self.step = step

    def train(self) -> None:
        """Run from the current step to the last."""
        last = self.config.optim.steps
        for batch, waited_seconds in _timed(self.batches(self.step, last)):
            started = time.perf_counter()
            self.bad_videos.add(batch.skipped)
            metrics = self.train_step(batch)
            self.step += 1
            step_seconds = waited_seconds + time.perf_counter() - started
            if self._due(self.config.log_every):
                metrics["clips_per_second"] = len(batch.labels) / step_seconds
                metrics["data_wait_share"] = waited_seconds / step_seconds
                self._log(metrics)
            # Before validation: a validation that fails must not cost the steps since the last checkpoint.
            if self._due(self.config.checkpoint_every):
                self.checkpoints.save(self.step, self.model.prompts, self.optimizer, to_dict(self.config))
            if self.validate and self._due(self.config.validate_every):
                self._log(self.validate())

    def train_step(self, batch: TrainBatch) -> dict[str, float]:
        """One update of the prompts.

        Text features are computed once for the step. Micro-batches use a detached copy of them, which gathers the
        gradient of them all; one backward pass through the text tower at the end carries it on.
        """
        self.model.train()
        factor = cosine(self.step, self.config.optim.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.optim.learning_rate * factor
        self.optimizer.zero_grad(set_to_none=True)

        text = self._frozen_text if self.model.prompts.text is None else self._encode_text()
        leaf = text.detach().requires_grad_()
        losses, correct = [], []
        for video, labels in self._micro_batches(batch):
            with self.autocast():
                logits = self.model(video, leaf)
            loss = F.cross_entropy(logits, labels, reduction="sum") / len(batch.labels)
            loss.backward()
            losses.append(loss.detach())
            correct.append((logits.argmax(dim=-1) == labels).sum())
        # Read here, once: each reading makes a GPU wait.
        total_loss, total_correct = torch.stack(losses).sum().item(), torch.stack(correct).sum().item()
        self._refuse_non_finite(total_loss, batch)
        if text.requires_grad:
            text.backward(leaf.grad)
        self.optimizer.step()
        return {
            "train/loss": total_loss,
            "train/top1": total_correct / len(batch.labels),
            "train/bad_videos": float(self.bad_videos.count),
            "learning_rate": self.config.optim.learning_rate * factor,
        }

    def _encode_text(self) -> Tensor:
        """Unit text features (K, D) of the classes."""
        with self.autocast():
            return self.model.encode_text(self.class_names)

    @cached_property
    def _frozen_text(self) -> Tensor:
        """Text features that no step changes: without a learned context they are computed once a run."""
        with torch.no_grad():
            return self._encode_text()

    def _micro_batches(self, batch: TrainBatch) -> Iterator[tuple[Tensor, Tensor]]:
        """Parts (b, T, 3, H, W) uint8 and (b,) of a batch, on the model's device."""
        size = self.config.optim.micro_batch_size or len(batch.labels)
        for video, labels in zip(batch.video.split(size), batch.labels.split(size), strict=True):
            yield video[:, 0].to(self.model.device), labels.to(self.model.device)

    def _refuse_non_finite(self, loss: float, batch: TrainBatch) -> None:
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} at step {self.step} (rows {batch.rows}); the prompts were not updated."
                " Lower optim.learning_rate, or set runtime.precision = float32"
            )

    def _due(self, every: int) -> bool:
        return self.step == self.config.optim.steps or (every > 0 and self.step % every == 0)

    def _log(self, metrics: Metrics) -> None:
        for logger in self.loggers:
            logger.log(self.step, metrics)


def _timed(batches: Iterable[TrainBatch]) -> Iterator[tuple[TrainBatch, float]]:
    """Batches, each with the seconds that were spent waiting for it."""
    iterator = iter(batches)
    while True:
        started = time.perf_counter()
        batch = next(iterator, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - started
