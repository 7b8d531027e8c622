"""The training loop.

Axes: B videos of a step, b of a micro-batch, V views (1 in training), T frames, H x W pixels, K classes, D embedding.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from filelock import BaseFileLock
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import AdamW

from vitaclip.config import TrainConfig
from vitaclip.data import TrainBatch, VideoSample
from vitaclip.distributed import DistEnv
from vitaclip.evaluate.metrics import is_label
from vitaclip.model import VideoModel
from vitaclip.train.average import PromptAverage
from vitaclip.train.checkpoint import Checkpoint, CheckpointStore, collect, put_back
from vitaclip.train.dropout import StepMasks
from vitaclip.train.loggers import BadVideoList, Logger, Metrics
from vitaclip.train.losses import make_targets, sum_losses
from vitaclip.train.mixing import Mix, neighbours
from vitaclip.train.pace import Pace
from vitaclip.train.schedule import cosine
from vitaclip.train.stopping import Terminated
from vitaclip.train.totals import StepTotals, combine
from vitaclip.train.validations import Validations

_SHOWN_FILES = 8
Embed = Callable[[Tensor, StepMasks], Tensor]


class Trainer:
    """Trains the parts of a model, or all of it; its collaborators arrive built (see `vitaclip.train.build`)."""

    def __init__(
        self,
        *,
        model: VideoModel,
        class_names: Sequence[str],
        rows: Sequence[VideoSample],
        embed: Embed,
        places: range,
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
        identity: Mapping[str, Any],
        dist: DistEnv,
        asked_to_stop: Callable[[], bool],
        steps: int,
        step: int = 0,
        warnings: Sequence[str] = (),
        lock: BaseFileLock | None = None,
    ) -> None:
        """Collect what training needs.

        Args:
            model: the model, on its device.
            class_names: the K classes that labels count through.
            rows: the training videos.
            embed: features (b, ...) of what the batches hold of b clips: pixels, or features already.
            places: those of a step's clips that are this process's.
            batches: gives the batches of the steps from a first to a last one (excluded); of several processes each
                gets its share of every batch.
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
            identity: what checkpoints are compared by with a run that goes on from them.
            dist: those that share each step.
            asked_to_stop: whether the run is to end, with a checkpoint.
            steps: all steps of the run.
            step: steps already done; more than 0 when resuming.
            warnings: what was wrong with what the run goes on from, for the user.
            lock: what keeps other processes out of the run folder, in the one that writes there.
        """
        self.model = model
        self.class_names = class_names
        self.rows = rows
        self.embed = embed
        self.places = places
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
        self.identity = identity
        self.dist = dist
        self.asked_to_stop = asked_to_stop
        self.stopping = False
        self.steps = steps
        self.step = step
        self.warnings = tuple(warnings)
        self.lock = lock
        self._frozen_text: Tensor | None = None

    def train(self) -> None:
        """Run from the current step to the last, or until validation stops improving.

        Raises:
            Terminated: the run was asked to stop, and has saved its state.
        """
        self._validate_if_due()  # a run that was killed between a checkpoint and its validation
        last = self.step if self.validations.exhausted else self.steps
        pace = Pace(self.config.optim.batch_size, self.model.device)
        for batch in pace.watch(self.batches(self.step, last)):
            metrics = self.train_step(batch)
            self.step += 1
            if self._due(self.config.log_every):
                self._log(metrics | pace.metrics(self.steps - self.step))
            # Before validation: a validation that fails, or is cut short, must not cost the steps before it.
            if self._due(self.config.checkpoint_every) or self._validation_due() or self.stopping:
                self._save()
            if self.stopping:
                raise Terminated
            self._validate_if_due()
            if self.validations.exhausted:
                break

    def train_step(self, batch: TrainBatch) -> dict[str, float]:
        """One update of what trains.

        Text features are computed once for the step. Micro-batches use a detached copy of them, which gathers the
        gradient of them all; one backward pass through the text tower at the end carries it on. Of several processes
        each does so for its clips, and the sum of the gradients of what trains makes the same update on all of them.
        """
        self.model.train()
        optim = self.config.optim
        learning_rate = optim.learning_rate * cosine(self.step, self.steps, optim.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)

        text = self._encode_text() if self._frozen_text is None else self._frozen_text
        if not text.requires_grad:
            self._frozen_text = text  # no step changes it, so it is made once
        leaf = text.detach().requires_grad_(text.requires_grad)
        losses, correct = [], []
        for video, labels, targets, masks in self._micro_batches(batch):
            with self.autocast():
                logits = self.model.logits(self.embed(video, masks), leaf)
            loss = sum_losses(logits, targets, optim)
            loss.backward()
            losses.append(loss.detach())
            correct.append(is_label(logits.argmax(dim=-1), labels).sum())
        if text.requires_grad:
            text.backward(leaf.grad)
        totals = self._combine(batch, torch.stack(losses), torch.stack(correct))
        self._refuse_non_finite("loss", totals.loss, batch, losses)
        metrics = self._limit_gradient(batch)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.step + 1)
        return {
            "train/loss": totals.loss,
            "train/top1": totals.top1,
            "train/bad_videos": float(self.bad_videos.count),
            "learning_rate": learning_rate,
            **metrics,
        }

    def keep_the_best(self) -> None:
        """Leave in the model what is to be used: of the best validation if early stopping is on, averaged if asked."""
        if self.validations.patience and self.validations.values:
            checkpoint, problems = self.dist.broadcast_from_rank0(self._load_the_best)
            self.warnings += tuple(problems)
            put_back(checkpoint.tensors, self.model, self.optimizer, self.average)
        if self.average is not None:
            self.average.apply()

    def _load_the_best(self) -> tuple[Checkpoint, list[str]]:
        """The checkpoint of the best validation; if it is damaged, of the best one that is whole, and a line why."""
        kept = {*self.checkpoints.steps(), self.validations.best_step}
        found, problems = self.checkpoints.first_whole(step for step in self.validations.ranking() if step in kept)
        if found is None:
            listed = "; ".join(problems.values())
            raise ValueError(f"{listed}; no validated checkpoint is whole, so there is nothing to take")
        return found, [f"{problem}; took that of step {found.step}" for problem in problems.values()]

    def _encode_text(self) -> Tensor:
        """Unit text features (K, D) of the classes."""
        with self.autocast():
            return self.model.encode_text(self.class_names)

    def _micro_batches(self, batch: TrainBatch) -> Iterator[tuple[Tensor, Tensor, Tensor, StepMasks]]:
        """Parts of a batch on the model's device: (b, T, 3, H, W), their labels (b,), what to aim at, and dropout.

        The pixels are uint8, or features (b, D) stand for them; the aim is the label; mixed with their neighbours the
        aim is (b, K), and pixels that were blended come normalised.
        """
        device, mix = self.model.device, self.draw_mix(self.step)
        others = neighbours(len(batch.labels))
        size = self.config.optim.micro_batch_size or len(batch.labels)
        for start in range(0, len(batch.labels), size):
            part = slice(start, start + size)
            video, labels = batch.video[part, 0].to(device), batch.labels[part].to(device)
            masks = StepMasks(self.config.seed, self.step, self.places[part])
            if mix is None:
                yield video, labels, make_targets(labels, len(self.class_names), self.config.optim), masks
                continue
            other_video = batch.video[others[part], 0].to(device)
            other_labels = batch.labels[others[part]].to(device)
            targets = mix.targets(labels, other_labels, len(self.class_names), self.model.dtype)
            yield mix.pixels(video, other_video, self.model.backbone.normalize_pixels), labels, targets, masks

    def _combine(self, batch: TrainBatch, losses: Tensor, correct: Tensor) -> StepTotals:
        """Gradients of the step's mean loss, on all processes; lists the broken videos, and notes a wish to stop."""
        totals = combine(
            [p.grad for p in self.model.trainable_parameters().values() if p.grad is not None],
            losses.sum(),
            correct.sum(),
            clips=len(batch.labels),
            skipped=len(batch.skipped),
            asked_to_stop=self.asked_to_stop(),
            dist=self.dist,
        )
        if totals.skipped:
            for lines in self.dist.gather(batch.skipped):
                self.bad_videos.add(lines)
        self.stopping = totals.asked_to_stop
        return totals

    def _limit_gradient(self, batch: TrainBatch) -> dict[str, float]:
        """Refuse a gradient that is not finite, and scale one that is too long down, if asked; returns its length."""
        trained = list(self.model.trainable_parameters().values())
        norm = get_total_norm([p.grad for p in trained if p.grad is not None])
        length = norm.item()  # once: each reading makes a GPU wait
        self._refuse_non_finite("gradient's length", length, batch)
        if longest := self.config.optim.max_gradient_norm:
            clip_grads_with_norm_(trained, longest, norm)
        return {"train/gradient_norm": length}

    def _refuse_non_finite(
        self, what: str, value: float, batch: TrainBatch, losses: Sequence[Tensor] | None = None
    ) -> None:
        """Save the state and end the run, naming the files of the micro-batches whose losses are not finite."""
        if math.isfinite(value):
            return
        finite = all(tensor.isfinite().all() for tensor in collect(self.model, self.optimizer, self.average).values())
        if finite:
            self._save()
        size = self.config.optim.micro_batch_size or len(batch.labels)
        suspects = [row for i, row in enumerate(batch.rows) if losses is None or not losses[i // size].isfinite()]
        files = [str(self.rows[row].path) for rows in self.dist.gather(suspects) for row in rows]
        more = f" and {len(files) - _SHOWN_FILES} more" if len(files) > _SHOWN_FILES else ""
        raise self.dist.failure(
            f"the {what} is {value} at step {self.step}; the prompts were not updated,"
            f" {'and are saved as they were' if finite else 'but were not finite before and are not saved'}. Go on"
            " with runtime.precision = float32, or start in another folder with a lower optim.learning_rate, or look at"
            " the step's videos:"
            f" {', '.join(files[:_SHOWN_FILES])}{more}"
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
        if self.dist.is_rank0:
            tensors = collect(self.model, self.optimizer, self.average)
            notes = {**self.identity, "bad_videos": self.bad_videos.lines}
            self.checkpoints.save(Checkpoint(self.step, tensors, notes), self.validations.best_step)

    def _validation_due(self) -> bool:
        return self.validate is not None and self._due(self.config.validate_every)

    def _due(self, every: int) -> bool:
        return self.step == self.steps or (every > 0 and self.step > 0 and self.step % every == 0)

    def _log(self, metrics: Metrics) -> None:
        for logger in self.loggers:
            logger.log(self.step, metrics)
