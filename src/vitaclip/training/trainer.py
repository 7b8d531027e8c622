"""The training loop, and what ends it before its last step: a signal, or validations that find nothing better.

Axes: B videos of a step, b of a micro-batch, V views (1 in training), T frames, H x W pixels, K classes, D embedding.
"""

import math
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from types import FrameType
from typing import Self

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from vitaclip.data.loading.loader import TrainBatch, train_batches
from vitaclip.data.workers import expect_processes
from vitaclip.distributed import SINGLE_PROCESS, DistEnv
from vitaclip.evaluation.evaluation import Evaluator
from vitaclip.evaluation.metrics import is_label
from vitaclip.model import VideoModel
from vitaclip.runtime import autocast
from vitaclip.saving.model_folder import MODEL_FOLDER
from vitaclip.settings import to_dict
from vitaclip.training.auto_batch import MicroBatch, fit, measure
from vitaclip.training.checkpoint import Checkpoint, load_state, state_dict
from vitaclip.training.config import TrainConfig
from vitaclip.training.inputs import (
    StepMasks,
    build_dataset,
    build_model,
    micro_batches,
    rank_slice,
    read_lists,
    shared_videos,
)
from vitaclip.training.loggers import Logger, Metrics, ThroughputMeter, run_loggers
from vitaclip.training.losses import find_loss
from vitaclip.training.memory import free_bytes, reset_peak
from vitaclip.training.optim import EMA, Schedule, build_optimizer, set_learning_rate
from vitaclip.training.run_dir import RunDir, run_fingerprint


class Trainer:
    """Trains one model on one list of videos, and resumes where an earlier run in the same folder stopped.

    >>> trainer = Trainer(load_recipe("miniature"))  # doctest: +SKIP
    >>> model = trainer.fit()  # doctest: +SKIP
    """

    def __init__(self, config: TrainConfig, dist: DistEnv = SINGLE_PROCESS) -> None:
        """Make all that the run consists of, in this order. Rank 0 alone reads and writes the run folder.

        Raises:
            ValueError: for anything wrong with the config, the lists or the backbone, and as `RunDir.open` does.
        """
        self.config, self.dist = config, dist
        with dist.shared_errors():  # what is quickly found wrong goes before the backbone is read
            self.loss = find_loss(config.optim)
            self.videos, self.val_videos = read_lists(config)
            self.schedule = Schedule(config.optim, len(self.videos.samples))
            self.total_steps = self.schedule.steps
            self.rank_slice = rank_slice(config.optim.batch_size, dist.rank, dist.world_size)
            expect_processes(config.data)
            self.model = build_model(config, self.videos.class_names, dist)
            self.run_dir = RunDir(config)
            self.fingerprint = run_fingerprint(config, self.videos, self.model.fingerprint)
        self.optimizer = build_optimizer(self.model, config.optim)
        self.ema = EMA(self.model.trainable_parameters(), config.optim.ema_decay) if config.optim.ema_decay else None

        open_folder = partial(self.run_dir.open, self.fingerprint)
        checkpoint, validations, doubts = dist.broadcast_from_rank0(open_folder)
        self.warnings = [*doubts, *self.videos.warnings(), *shared_videos(self.videos, self.val_videos)]
        self.step = checkpoint.step
        if checkpoint.tensors:
            load_state(checkpoint.tensors, self.model, self.optimizer, self.ema)
        self._is_measured = not config.auto_batch
        if self.step and config.auto_batch and (saved := checkpoint.notes["config"]).get("auto_batch"):
            self._is_measured = True
            self._set_micro_batch(saved["optim"]["micro_batch_size"], saved["runtime"]["checkpoint_activations"])
        left_out = [*self.videos.left_out, *(self.val_videos.left_out if self.val_videos else ())]
        self.bad_videos: dict[str, None] = dict.fromkeys(left_out + checkpoint.notes.get("bad_videos", []))
        """A line about each video that could not be read so far, in the order in which they were found."""
        self.early_stopping = EarlyStopping(config.early_stop_patience, validations)
        self.loggers: list[Logger] = []
        with dist.shared_errors():
            if dist.is_rank0:
                self.run_dir.write_config(self.config)
                self.run_dir.write_inputs(self.videos, self.val_videos, self.bad_videos)
                self.loggers = run_loggers(config, self.step)

        self.stopping = False
        self.should_stop: Callable[[], bool] = lambda: False
        """Asked in each step whether the run is to save its state and end."""
        self.on_features: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None
        """With a feature cache, called with this rank's number of videos; returns a progress callback `(done)`."""
        self.on_auto_batch: Callable[[str], None] = lambda line: None
        """With `auto_batch`, called with what was chosen and why."""
        self._frozen_text: Tensor | None = None

    def fit(self) -> VideoModel:
        """Train to the end and write the model folder `OUT/model`; returns the trained model, in evaluation mode.

        >>> Trainer(load_recipe("mine.yaml")).fit().save_pretrained("my_model")  # doctest: +SKIP
        """
        try:
            with ExitStack() as open_loggers:
                for logger in self.loggers:
                    open_loggers.callback(logger.close)
                self.train()
            self.load_best_checkpoint()
            if self.dist.is_rank0:
                self.model.save_pretrained(self.run_dir.path / MODEL_FOLDER)
        finally:
            self.run_dir.release()
        return self.model.eval()

    def train(self) -> None:
        """Train from the current step to the last one, or until validation stops improving; `Terminated` is raised when
        the run was asked to stop, after it has saved its state."""
        self._validate_if_due()  # for a run that was killed between a checkpoint and its validation
        last_step = self.step if self.early_stopping.should_stop else self.total_steps
        batches = self.batches(self.step, last_step)
        meter = ThroughputMeter(self.config.optim.batch_size, self.model.device)
        for batch in meter.timed(batches):
            if not self._is_measured:
                self.choose_micro_batch(batch)
            metrics = self.train_step(batch)
            self.step += 1
            if self._is_due(self.config.log_every):
                self._log(metrics | meter.metrics(self.total_steps - self.step))
            # A step that is validated is saved before: a run that is killed while validating then repeats nothing but
            # the validation. A checkpoint's lines are in the metrics file before it.
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
        optim = self.config.optim
        self.model.train()
        learning_rate = set_learning_rate(self.optimizer, self.step, self.schedule)
        self.optimizer.zero_grad(set_to_none=True)

        text = self._text_features()
        leaf = text.detach().requires_grad_(text.requires_grad)
        parts = micro_batches(batch, self.model, self.config, self.rank_slice)
        losses, correct = zip(*(self._backward(part, leaf) for part in parts), strict=True)
        if text.requires_grad:
            text.backward(leaf.grad)
        mean_loss, top1 = self._reduce(batch, torch.stack(losses), torch.stack(correct))
        norm = get_total_norm(self._gradients())
        length = norm.item()  # once, because each read makes a GPU wait
        if not math.isfinite(mean_loss):
            raise self._non_finite(f"loss is {mean_loss}")
        if not math.isfinite(length):
            raise self._non_finite(f"gradient's length is {length}")
        if limit := optim.max_gradient_norm:
            clip_grads_with_norm_(self.model.trainable_parameters().values(), limit, norm)
        self.optimizer.step()
        if self.ema is not None:
            self.ema.update(self.step + 1)
        return {
            "train/loss": mean_loss,
            "train/top1": top1,
            "train/bad_videos": float(len(self.bad_videos)),
            "learning_rate": learning_rate,
            "train/gradient_norm": length,
        }

    def choose_micro_batch(self, batch: TrainBatch) -> None:
        """Choose and set how many clips of a step like this one go through the model at a time, by trying; nothing
        that training changes is changed. The choice is in the run's config, so that a run that goes on sums its
        gradients in the same order. Of several processes all take the least that one of them found."""
        self.model.train()
        device, trained = self.model.device, self.model.trainable_parameters().values()
        text = self._text_features()  # what is kept of them for the way back takes memory too
        leaf = text.detach().requires_grad_(text.requires_grad)
        on_one_memory = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if device.type == "cpu" else 1
        free = free_bytes(device) // on_one_memory - 2 * sum(p.nbytes for p in trained)  # AdamW's moments are to come

        def attempt(clips: int, recompute: bool) -> MicroBatch | None:
            self._set_micro_batch(clips, recompute)
            part = next(micro_batches(batch, self.model, self.config, self.rank_slice))
            found = measure(device, free, clips, recompute, lambda: self._backward(part, leaf))
            self.optimizer.zero_grad(set_to_none=True)
            return found

        found, why = fit(attempt, len(batch.labels), self.config.runtime.checkpoint_activations)
        of_ranks = self.dist.gather(found)
        self._set_micro_batch(min(each.clips for each in of_ranks), any(each.recompute for each in of_ranks))
        self._is_measured = True
        reset_peak(device)
        if self.dist.is_rank0:
            self.run_dir.write_config(self.config)
        again = ", whose activations are computed again on the way back" * found.recompute
        gib = f"{found.peak / 2**30:.1f} of {free / 2**30:.1f} GiB"
        self.on_auto_batch(f"clips at a time: {found.clips}{again}, in {gib} that are free; {why}")

    def batches(self, first_step: int, last_step: int) -> Iterator[TrainBatch]:
        """This rank's part of the batches of steps `first_step .. last_step - 1`: clips, or cached features."""
        if first_step >= last_step:
            return iter(())
        data, on_progress = self.config.data, lambda done: None
        if data.feature_cache:
            on_progress = self.on_features(len(self.dist.rank_range(len(self.videos.samples))))
        dataset = build_dataset(self.config, self.model, self.videos, self.dist, self._stoppable(on_progress))
        workers = 0 if data.feature_cache else data.workers
        batch_size, limit = self.config.optim.batch_size, data.time_limit_seconds
        return train_batches(dataset, first_step, last_step, batch_size, workers, self.rank_slice, limit)

    def validate(self) -> Metrics:
        """Score the model on `data.val`, with class texts as the model encodes them now, or once in a run if nothing in
        them trains."""
        config, videos = self.config, self.val_videos
        assert videos is not None
        evaluator, on_progress = Evaluator(self.model, config.runtime, config.data, dist=self.dist), lambda done: None
        texts = evaluator.encode_texts(videos.class_names, features=self._frozen_text)
        encoded = evaluator.encode(videos.samples, config.views, [texts], self._stoppable(on_progress))
        result = evaluator.score(encoded, texts).result
        several = {} if result.mean_average_precision is None else {"val/mAP": result.mean_average_precision}
        skipped = float(len(result.skipped))
        return {"val/top1": result.top1, "val/top5": result.top5, **several, "val/skipped": skipped}

    def load_best_checkpoint(self) -> None:
        """Load the state of the best validated step if early stopping is on, and the EMA if there is one."""
        best = self.early_stopping.best_step
        if self.early_stopping.patience and best is not None:
            checkpoint = self.dist.broadcast_from_rank0(lambda: self.run_dir.checkpoints.load(best))
            load_state(checkpoint.tensors, self.model, self.optimizer, self.ema)
        if self.ema is not None:
            self.ema.apply()

    def _save(self) -> None:
        if self.dist.is_rank0:
            tensors = state_dict(self.model, self.optimizer, self.ema)
            notes = {**self.fingerprint, "bad_videos": list(self.bad_videos)}
            self.run_dir.checkpoints.save(Checkpoint(self.step, tensors, notes), self.early_stopping.best_step)

    def _log(self, metrics: Metrics) -> None:
        for logger in self.loggers:
            logger.log(self.step, metrics)

    def _validate_if_due(self) -> None:
        """Score the model, or its EMA, once at each step that is due for validation."""
        if self.step in self.early_stopping.values or not self._validation_is_due():
            return
        with self.ema.applied() if self.ema is not None else nullcontext():
            metrics = self.validate()
        self.early_stopping.values[self.step] = metrics[self.config.early_stop_metric]
        self._log(metrics)

    def _validation_is_due(self) -> bool:
        return self.val_videos is not None and self._is_due(self.config.validate_every)

    def _is_due(self, every: int) -> bool:
        return self.step == self.total_steps or (every > 0 and self.step > 0 and self.step % every == 0)

    def _stoppable(self, on_progress: Callable[[int], None]) -> Callable[[int], None]:
        """A progress callback that also ends the run if that is asked for."""

        def progress(done: int) -> None:
            on_progress(done)
            if self.should_stop():
                raise Terminated

        return progress

    # -------------------------------------------------------------------------------------------- the parts of a step

    def _set_micro_batch(self, clips: int, recompute: bool) -> None:
        """Have so many clips go through the model at a time, and their activations computed again or not."""
        optim = replace(self.config.optim, micro_batch_size=clips)
        runtime = replace(self.config.runtime, checkpoint_activations=recompute)
        self.config = replace(self.config, optim=optim, runtime=runtime)
        self.model.prepare(runtime)
        self.fingerprint["config"] = to_dict(self.config)

    def _backward(self, part: tuple[Tensor, Tensor, Tensor, StepMasks], text: Tensor) -> tuple[Tensor, Tensor]:
        """Add the gradients of a micro-batch; return the sum of its losses and the number of its correct clips."""
        video, labels, targets, masks = part
        with autocast(self.config.runtime, self.model.device):
            logits = self.model.logits(self._video_features(video, masks), text)
        loss = self.loss.sum_losses(logits, targets, self.config.optim)
        loss.backward()
        return loss.detach(), is_label(logits.argmax(dim=-1), labels).sum()

    def _text_features(self) -> Tensor:
        """Text features (K, D) of the classes, of unit length."""
        if self._frozen_text is not None:
            return self._frozen_text
        with autocast(self.config.runtime, self.model.device):
            text = self.model.encode_text(self.model.class_names)
        if not text.requires_grad:
            self._frozen_text = text  # no step changes these features, so they are computed once
        return text

    def _video_features(self, video: Tensor, masks: StepMasks) -> Tensor:
        """Features of b clips: uint8 pixels (b, T, 3, H, W), or what the feature cache keeps of them, (b, T, ...)."""
        if self.config.data.feature_cache:
            return self.model.encode_features(video.to(self.model.dtype), masks=masks)
        return self.model.encode_video(video, masks=masks)

    def _gradients(self) -> list[Tensor]:
        return [p.grad for p in self.model.trainable_parameters().values() if p.grad is not None]

    def _reduce(self, batch: TrainBatch, losses: Tensor, correct: Tensor) -> tuple[float, float]:
        """Make the gradients, in place, those of the mean loss of the step's clips on all ranks; return that loss and
        the fraction of clips whose top-1 class is correct. Broken videos are listed, and a wish to stop is noted.

        The ranks exchange one tensor: all gradients, and behind them five figures.
        """
        counts = losses.new_tensor([len(batch.labels), len(batch.skipped), self.should_stop()])
        figures = torch.cat([torch.stack([losses.sum(), correct.sum().to(losses.dtype)]), counts])
        gradients = self._gradients()
        if self.dist.world_size > 1:
            exchanged = [*gradients, figures]
            flat = torch.cat([tensor.flatten() for tensor in exchanged])
            self.dist.all_reduce(flat)
            for tensor, total in zip(exchanged, flat.split([tensor.numel() for tensor in exchanged]), strict=True):
                tensor.copy_(total.view_as(tensor))
        # All figures are read here at once, because each read makes a GPU wait.
        loss, num_correct, clips, skipped, asked_to_stop = figures.tolist()
        for gradient in gradients:
            gradient /= clips
        self.stopping = asked_to_stop > 0
        if skipped:
            known = len(self.bad_videos)
            self.bad_videos |= dict.fromkeys(line for lines in self.dist.gather(batch.skipped) for line in lines)
            if self.dist.is_rank0 and len(self.bad_videos) > known:
                self.run_dir.write_bad_videos(self.bad_videos)
        return loss / clips, num_correct / clips

    def _non_finite(self, what: str) -> BaseException:
        """Save the state as it was before the step."""
        finite = all(tensor.isfinite().all() for tensor in state_dict(self.model, self.optimizer, self.ema).values())
        if finite:
            self._save()
        return self.dist.failure(
            f"the {what} at step {self.step}; the prompts were not updated,"
            f" {'and are saved as they were' if finite else 'but were not finite before and are not saved'}. Go on"
            " with runtime.precision = float32, or start in another folder with a lower optim.learning_rate"
        )


class Terminated(Exception):  # noqa: N818 - nothing went wrong
    """The run was asked to end; a checkpoint of its last step lies in its folder."""


class StopRequest:
    """Whether the run was asked to end, and by which signal: SIGTERM, which clusters send some seconds before they take
    the machine away, or Ctrl-C. While the context lasts, signals do no more than make it answer True when it is called;
    the run then saves its state after the current step. A second Ctrl-C ends it at once."""

    def __init__(self) -> None:
        self.signal: int = 0
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def __enter__(self) -> Self:
        for number in self._before:
            signal.signal(number, self.receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __call__(self) -> bool:
        return bool(self.signal)

    @property
    def exit_status(self) -> int:
        """What a shell reports of a process that the signal ended, such as 143 for SIGTERM; the state is saved."""
        return 128 + self.signal

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        del frame
        again, self.signal = bool(self.signal), self.signal or number  # first: the next signal may come right here
        if number == signal.SIGINT and again:
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            os.write(2, b"\nsaving the state after this step, then stopping; Ctrl-C again stops at once\n")


@dataclass
class EarlyStopping:
    """The validations of a run: which was best, and whether to stop. A resumed run reads them from the metrics file."""

    patience: int = 0
    """Number of validations without a better value after which training stops. 0: never."""
    values: dict[int, float] = field(default_factory=dict)
    """The metric that is watched, of which more is better, after each validated step, in the order of steps."""

    @property
    def best_step(self) -> int | None:
        """The first step that reached the best value; None before any validation."""
        return max(self.values, key=lambda step: self.values[step], default=None)

    @property
    def should_stop(self) -> bool:
        """Whether the last `patience` validations found nothing better."""
        best = self.best_step
        return best is not None and 0 < self.patience <= sum(step > best for step in self.values)


def train(config: TrainConfig) -> VideoModel:
    """Train to the end, or go on with a run that stopped; the model is in `OUT/model` too.

    >>> import vitaclip
    >>> config = vitaclip.load_recipe("own_videos", out="runs/doors", data={"train": "my_videos/"})  # doctest: +SKIP
    >>> model = vitaclip.train(config)  # doctest: +SKIP
    """
    trainer = Trainer(config)
    for warning in trainer.warnings:
        warnings.warn(warning, stacklevel=2)
    return trainer.fit()
