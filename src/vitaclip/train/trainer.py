"""The training loop.

Axes: B videos of a step, b of a micro-batch, V views (1 in training), T frames, H x W pixels, K classes, D embedding.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from vitaclip.config import TrainConfig, to_dict
from vitaclip.data import TrainBatch
from vitaclip.model import VitaCLIP
from vitaclip.train.average import PromptAverage
from vitaclip.train.checkpoint import CheckpointStore
from vitaclip.train.loggers import BadVideoList, Logger, Metrics
from vitaclip.train.mixing import Mix, neighbours
from vitaclip.train.schedule import cosine
from vitaclip.train.validations import Validations


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
        draw_mix: Callable[[int], Mix | None],
        average: PromptAverage | None,
        validations: Validations,
        config: TrainConfig,
        steps: int,
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
            draw_mix: how the clips of a step are mixed with each other.
            average: moving average of what trains.
            validations: what validation has said so far.
            config: the run.
            steps: all steps of the run.
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
        self.draw_mix = draw_mix
        self.average = average
        self.validations = validations
        self.config = config
        self.steps = steps
        self.step = step

    def train(self) -> None:
        """Run from the current step to the last, or until validation stops improving."""
        self._validate_if_due()  # a run that was killed between a checkpoint and its validation
        last = self.step if self.validations.exhausted else self.steps
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
            if self._due(self.config.checkpoint_every) or (self.validations.patience and self._validation_due()):
                self._save()
            self._validate_if_due()
            if self.validations.exhausted:
                break

    def train_step(self, batch: TrainBatch) -> dict[str, float]:
        """One update of the prompts.

        Text features are computed once for the step. Micro-batches use a detached copy of them, which gathers the
        gradient of them all; one backward pass through the text tower at the end carries it on.
        """
        self.model.train()
        optim = self.config.optim
        learning_rate = optim.learning_rate * cosine(self.step, self.steps, optim.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)

        text = self._frozen_text if self.model.prompts.text is None else self._encode_text()
        leaf = text.detach().requires_grad_()
        losses, correct = [], []
        for video, labels, targets in self._micro_batches(batch):
            with self.autocast():
                logits = self.model(video, leaf)
            loss = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=optim.label_smoothing)
            loss = loss / len(batch.labels)
            loss.backward()
            losses.append(loss.detach())
            correct.append((logits.argmax(dim=-1) == labels).sum())
        # Read here, once: each reading makes a GPU wait.
        total_loss, total_correct = torch.stack(losses).sum().item(), torch.stack(correct).sum().item()
        self._refuse_non_finite("loss", total_loss, batch)
        if text.requires_grad:
            text.backward(leaf.grad)
        metrics = self._limit_gradient(batch)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.step + 1)
        return {
            "train/loss": total_loss,
            "train/top1": total_correct / len(batch.labels),
            "train/bad_videos": float(self.bad_videos.count),
            "learning_rate": learning_rate,
            **metrics,
        }

    def keep_the_best(self) -> None:
        """Leave in the model what is to be used: of the best validation if early stopping is on, averaged if asked."""
        best = self.validations.best_step if self.validations.patience else None
        if best is not None:
            self.checkpoints.restore(best, self.model.prompts, self.optimizer, self.average)
        if self.average is not None:
            self.average.apply()

    def _encode_text(self) -> Tensor:
        """Unit text features (K, D) of the classes."""
        with self.autocast():
            return self.model.encode_text(self.class_names)

    @cached_property
    def _frozen_text(self) -> Tensor:
        """Text features that no step changes: without a learned context they are computed once a run."""
        with torch.no_grad():
            return self._encode_text()

    def _micro_batches(self, batch: TrainBatch) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Parts of a batch on the model's device: (b, T, 3, H, W), their labels (b,), and what to aim at.

        The pixels are uint8, the aim is the label; mixed with their neighbours the aim is (b, K), and pixels that
        were blended come normalised.
        """
        device, mix = self.model.device, self.draw_mix(self.step)
        others = neighbours(len(batch.labels))
        size = self.config.optim.micro_batch_size or len(batch.labels)
        for start in range(0, len(batch.labels), size):
            part = slice(start, start + size)
            video, labels = batch.video[part, 0].to(device), batch.labels[part].to(device)
            if mix is None:
                yield video, labels, labels
                continue
            other_video = batch.video[others[part], 0].to(device)
            other_labels = batch.labels[others[part]].to(device)
            targets = mix.targets(labels, other_labels, len(self.class_names), self.model.prompts.logit_scale.dtype)
            yield mix.pixels(video, other_video, self.model.clip.normalize_pixels), labels, targets

    def _limit_gradient(self, batch: TrainBatch) -> dict[str, float]:
        """Scale a gradient that is too long down, if asked; returns its length before."""
        longest = self.config.optim.max_gradient_norm
        if not longest:
            return {}
        norm = clip_grad_norm_(self.model.trainable_parameters().values(), longest).item()
        self._refuse_non_finite("gradient's length", norm, batch)
        return {"train/gradient_norm": norm}

    def _refuse_non_finite(self, what: str, value: float, batch: TrainBatch) -> None:
        if not math.isfinite(value):
            raise ValueError(
                f"the {what} is {value} at step {self.step} (rows {batch.rows}); the prompts were not updated."
                " Lower optim.learning_rate, or set runtime.precision = float32"
            )

    def _validate_if_due(self) -> None:
        """Score the model, or its average, once at each step that asks for it."""
        if self.validate is None or self.step in self.validations.values or not self._validation_due():
            return
        with self.average.applied() if self.average is not None else nullcontext():
            metrics = self.validate()
        self.validations.record(self.step, metrics)
        self._log(metrics)

    def _save(self) -> None:
        best = self.validations.best_step if self.validations.patience else None
        config = to_dict(self.config)
        self.checkpoints.save(self.step, self.model.prompts, self.optimizer, config, self.average, best)

    def _validation_due(self) -> bool:
        return self._due(self.config.validate_every)

    def _due(self, every: int) -> bool:
        return self.step == self.steps or (every > 0 and self.step > 0 and self.step % every == 0)

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
