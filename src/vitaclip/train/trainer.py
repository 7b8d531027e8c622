"""The training loop.

Axes: B videos of a step, b of a micro-batch, V views (1 in training), T frames, H x W pixels, K classes, D embedding.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from vitaclip.data import TrainBatch, expect_processes, train_batches
from vitaclip.distributed import SINGLE_PROCESS, DistEnv
from vitaclip.evaluate.evaluation import Evaluator
from vitaclip.evaluate.metrics import is_label
from vitaclip.model import VideoModel
from vitaclip.runtime import autocast
from vitaclip.saving.model_folder import MODEL_FOLDER
from vitaclip.train.checkpoint import Checkpoint, load_state, state_dict
from vitaclip.train.config import TrainConfig
from vitaclip.train.dropout import StepMasks
from vitaclip.train.early_stopping import EarlyStopping
from vitaclip.train.ema import EMA
from vitaclip.train.inputs import (
    build_dataset,
    build_model,
    feature_dataset,
    read_train_list,
    read_val_list,
    train_clips,
)
from vitaclip.train.loggers import BadVideoList, Logger, Metrics, run_loggers
from vitaclip.train.losses import find_loss, sum_losses
from vitaclip.train.mixing import micro_batches, rank_slice
from vitaclip.train.optim import build_optimizer, cosine, total_steps
from vitaclip.train.run_dir import BAD_VIDEOS_FILE, METRICS_FILE, RunDir
from vitaclip.train.run_fingerprint import run_fingerprint
from vitaclip.train.step_metrics import StepMetrics, reduce_step_metrics
from vitaclip.train.stopping import Terminated
from vitaclip.train.throughput import ThroughputMeter

_SHOWN_FILES = 8


class Trainer:
    """Trains one model on one list of videos, and resumes where an earlier run in the same folder stopped.

    >>> trainer = Trainer(load_recipe("miniature"))  # doctest: +SKIP
    >>> model = trainer.fit()  # doctest: +SKIP
    """

    def __init__(self, config: TrainConfig, dist: DistEnv = SINGLE_PROCESS) -> None:
        """Make all that the run consists of, in this order.

        Args:
            config: the run.
            dist: the ranks of the run. Rank 0 alone reads and writes the run folder.

        Raises:
            ValueError: for anything wrong with the config, the lists or the backbone; and if the run folder holds a run
                with another config, other class names or other videos, or one that another process is writing.
        """
        self.config, self.dist = config, dist
        with dist.shared_errors():
            self.videos = read_train_list(config)
            find_loss(config.optim.loss)  # an unknown loss is reported before anything large is read
            self.total_steps = total_steps(config.optim, len(self.videos.samples))
            self.rank_slice = rank_slice(config.optim.batch_size, dist.rank, dist.world_size)
            expect_processes(config.data)
            self.model = build_model(config, self.videos.class_names, dist)
            self.val_videos = read_val_list(config, self.videos.class_names) if config.data.val else None
            self.run_dir = RunDir(config)
        self.fingerprint = run_fingerprint(config, self.videos, self.model.fingerprint)
        with dist.shared_errors():
            if dist.is_rank0:
                self.run_dir.acquire()
        progress = dist.broadcast_from_rank0(lambda: self.run_dir.read_progress(self.fingerprint, self.total_steps))
        self.warnings = [*progress.warnings, *([self.videos.note] if self.videos.note else [])]
        self.optimizer = build_optimizer(self.model, config.optim)
        self.ema = EMA(self.model.trainable_parameters(), config.optim.ema_decay) if config.optim.ema_decay else None
        self.early_stopping = EarlyStopping(config.early_stop_metric, config.early_stop_patience, progress.validations)
        self.step = progress.step
        if progress.checkpoint is not None:
            load_state(progress.checkpoint.tensors, self.model, self.optimizer, self.ema)
        self.loggers: list[Logger] = []
        with dist.shared_errors():
            if dist.is_rank0:
                self.run_dir.write_inputs(self.videos, self.warnings)
                self.loggers = run_loggers(config, self.run_dir.path / METRICS_FILE, self.step)
        bad_videos_file = self.run_dir.path / BAD_VIDEOS_FILE if dist.is_rank0 else None
        self.bad_videos = BadVideoList(bad_videos_file, progress.bad_videos)
        self.stopping = False
        self.should_stop: Callable[[], bool] = lambda: False
        """Asked in each step whether the run is to save its state and end."""
        self.on_features: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None
        """With a feature cache, called with this rank's number of videos; returns a progress callback `(done)`."""
        self._frozen_text: Tensor | None = None

    def fit(self) -> VideoModel:
        """Train to the end and write the model folder `OUT/model`; returns the trained model, in evaluation mode."""
        try:
            try:
                self.train()
            finally:
                for logger in self.loggers:
                    logger.close()
            self.load_best_checkpoint()
            if self.dist.is_rank0:
                self.model.save_pretrained(self.run_dir.path / MODEL_FOLDER)
        finally:
            if self.dist.is_rank0:
                self.run_dir.release()
        return self.model.eval()

    def train(self) -> None:
        """Train from the current step to the last one, or until validation stops improving.

        Raises:
            Terminated: the run was asked to stop, and has saved its state.
        """
        self._validate_if_due()  # for a run that was killed between a checkpoint and its validation
        last_step = self.step if self.early_stopping.should_stop else self.total_steps
        meter = ThroughputMeter(self.config.optim.batch_size, self.model.device)
        for batch in meter.timed(self.batches(self.step, last_step)):
            metrics = self.train_step(batch)
            self.step += 1
            if self._is_due(self.config.log_every):
                self._log(metrics | meter.metrics(self.total_steps - self.step))
            # Before validation: a validation that fails, or is cut short, must not cost the steps before it.
            if self._is_due(self.config.checkpoint_every) or self._validation_is_due() or self.stopping:
                self._save()
            if self.stopping:
                raise Terminated
            self._validate_if_due()
            if self.early_stopping.should_stop:
                break

    def train_step(self, batch: TrainBatch) -> dict[str, float]:
        """Make one update of what trains, and return the step's metrics.

        Text features are computed once for the step. The micro-batches use a detached copy of them, which accumulates
        the gradient of all; one backward pass through the text tower at the end propagates it. Each rank does so for
        its own clips, and the sum over the ranks makes the same update on all of them.
        """
        self.model.train()
        optim = self.config.optim
        learning_rate = optim.learning_rate * cosine(self.step, self.total_steps, optim.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)

        text = self._encode_text() if self._frozen_text is None else self._frozen_text
        if not text.requires_grad:
            self._frozen_text = text  # no step changes these features, so they are computed once
        leaf = text.detach().requires_grad_(text.requires_grad)
        losses, correct = [], []
        for video, labels, targets, masks in micro_batches(batch, self.model, self.config, self.step, self.rank_slice):
            with autocast(self.config.runtime, self.model.device):
                logits = self.model.logits(self._embed(video, masks), leaf)
            loss = sum_losses(logits, targets, optim)
            loss.backward()
            losses.append(loss.detach())
            correct.append(is_label(logits.argmax(dim=-1), labels).sum())
        if text.requires_grad:
            text.backward(leaf.grad)
        totals = self._reduce(batch, torch.stack(losses), torch.stack(correct))
        self._refuse_non_finite("loss", totals.loss, batch, losses)
        metrics = self._limit_gradient(batch)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.step + 1)
        return {
            "train/loss": totals.loss,
            "train/top1": totals.top1,
            "train/bad_videos": float(self.bad_videos.count),
            "learning_rate": learning_rate,
            **metrics,
        }

    def batches(self, first_step: int, last_step: int) -> Iterator[TrainBatch]:
        """This rank's part of the batches of steps `first_step .. last_step - 1`: clips, or cached features."""
        data, workers = self.config.data, self.config.data.workers
        if first_step >= last_step:
            return iter(())
        if data.feature_cache:
            done = self.on_features(len(self.dist.rank_range(len(self.videos.samples))))
            dataset = feature_dataset(self.config, self.model, self.videos, self.dist, self._stoppable(done))
            workers = 0
        else:
            dataset = build_dataset(self.config, train_clips(self.config, self.model.image_size), self.videos)
        batch_size, limit = self.config.optim.batch_size, data.time_limit_seconds
        return train_batches(dataset, first_step, last_step, batch_size, workers, self.rank_slice, limit)

    def validate(self) -> Metrics:
        """Score the model on `data.val`, with class texts as the model encodes them now."""
        config, videos = self.config, self.val_videos
        assert videos is not None
        evaluator, stoppable = Evaluator(self.model, config.runtime, config.data, dist=self.dist), self._stoppable
        result = evaluator.run(videos.samples, videos.class_names, config.views, stoppable(lambda done: None)).result
        several = {} if result.mean_average_precision is None else {"val/mAP": result.mean_average_precision}
        scores = {"val/top1": result.top1, "val/top5": result.top5, **several}
        return {**scores, "val/skipped": float(len(result.skipped))}

    def load_best_checkpoint(self) -> None:
        """Load the state of the best validated step if early stopping is on, and the EMA if there is one."""
        if self.early_stopping.patience and self.early_stopping.values:
            ranking = self.early_stopping.ranking()
            checkpoint, warnings = self.dist.broadcast_from_rank0(lambda: self.run_dir.read_best(ranking))
            self.warnings += warnings
            load_state(checkpoint.tensors, self.model, self.optimizer, self.ema)
        if self.ema is not None:
            self.ema.apply()

    def _stoppable(self, on_progress: Callable[[int], None]) -> Callable[[int], None]:
        """A progress callback that also ends the run if that is asked for."""

        def progress(done: int) -> None:
            on_progress(done)
            if self.should_stop():
                raise Terminated

        return progress

    def _embed(self, video: Tensor, masks: StepMasks) -> Tensor:
        """Features of b clips: uint8 pixels (b, T, 3, H, W), or cached features, which are returned as they are."""
        if self.config.data.feature_cache:
            return video.to(self.model.dtype)
        return self.model.encode_video(video, masks=masks)

    def _encode_text(self) -> Tensor:
        """Text features (K, D) of the classes, of unit length."""
        with autocast(self.config.runtime, self.model.device):
            return self.model.encode_text(self.model.class_names)

    def _reduce(self, batch: TrainBatch, losses: Tensor, correct: Tensor) -> StepMetrics:
        """Make the gradients those of the step's mean loss on all ranks; list broken videos, note a wish to stop."""
        totals = reduce_step_metrics(
            [p.grad for p in self.model.trainable_parameters().values() if p.grad is not None],
            losses.sum(),
            correct.sum(),
            clips=len(batch.labels),
            skipped=len(batch.skipped),
            should_stop=self.should_stop(),
            dist=self.dist,
        )
        if totals.skipped:
            for lines in self.dist.gather(batch.skipped):
                self.bad_videos.add(lines)
        self.stopping = totals.should_stop
        return totals

    def _limit_gradient(self, batch: TrainBatch) -> dict[str, float]:
        """Refuse a gradient that is not finite, scale one down that is longer than the limit, and return its norm."""
        trained = list(self.model.trainable_parameters().values())
        total = get_total_norm([p.grad for p in trained if p.grad is not None])
        norm = total.item()  # once, because each read makes a GPU wait
        self._refuse_non_finite("gradient's length", norm, batch)
        if limit := self.config.optim.max_gradient_norm:
            clip_grads_with_norm_(trained, limit, total)
        return {"train/gradient_norm": norm}

    def _refuse_non_finite(
        self, what: str, value: float, batch: TrainBatch, losses: Sequence[Tensor] | None = None
    ) -> None:
        """Save the state and end the run, naming the files of the micro-batches whose losses are not finite."""
        if math.isfinite(value):
            return
        finite = all(tensor.isfinite().all() for tensor in state_dict(self.model, self.optimizer, self.ema).values())
        if finite:
            self._save()
        size = self.config.optim.micro_batch_size or len(batch.labels)
        suspects = [row for i, row in enumerate(batch.indices) if losses is None or not losses[i // size].isfinite()]
        files = [str(self.videos.samples[row].path) for rows in self.dist.gather(suspects) for row in rows]
        more = f" and {len(files) - _SHOWN_FILES} more" if len(files) > _SHOWN_FILES else ""
        raise self.dist.failure(
            f"the {what} is {value} at step {self.step}; the prompts were not updated,"
            f" {'and are saved as they were' if finite else 'but were not finite before and are not saved'}. Go on"
            " with runtime.precision = float32, or start in another folder with a lower optim.learning_rate, or look at"
            " the step's videos:"
            f" {', '.join(files[:_SHOWN_FILES])}{more}"
        )

    def _validate_if_due(self) -> None:
        """Score the model, or its EMA, once at each step that is due for validation."""
        if self.step in self.early_stopping.values or not self._validation_is_due():
            return
        with self.ema.applied() if self.ema is not None else nullcontext():
            metrics = self.validate()
        self.early_stopping.record(self.step, metrics)
        self._log(metrics)

    def _save(self) -> None:
        if self.dist.is_rank0:
            tensors = state_dict(self.model, self.optimizer, self.ema)
            notes = {**self.fingerprint, "bad_videos": self.bad_videos.lines}
            self.run_dir.checkpoints.save(Checkpoint(self.step, tensors, notes), self.early_stopping.best_step)

    def _validation_is_due(self) -> bool:
        return self.val_videos is not None and self._is_due(self.config.validate_every)

    def _is_due(self, every: int) -> bool:
        return self.step == self.total_steps or (every > 0 and self.step > 0 and self.step % every == 0)

    def _log(self, metrics: Metrics) -> None:
        for logger in self.loggers:
            logger.log(self.step, metrics)
