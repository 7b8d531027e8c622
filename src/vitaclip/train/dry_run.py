"""A dry run: three steps of a run, to find what it would cost and what is wrong with its data. Nothing is kept."""

import math
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from tempfile import TemporaryDirectory

from vitaclip.data.lists.video_list import VideoSample
from vitaclip.data.tools.scan import check_video
from vitaclip.data.workers import run_in_processes
from vitaclip.distributed import SINGLE_PROCESS, DistEnv
from vitaclip.train.checkpoint import Checkpoint, state_dict
from vitaclip.train.config import TrainConfig
from vitaclip.train.loggers import peak_memory_bytes
from vitaclip.train.trainer import Trainer

STEPS = 3
MAX_OPENED = 64
"""Number of videos of each list that are opened, at most."""


@dataclass(frozen=True)
class DryRun:
    """What a run would cost, and what is wrong with its data."""

    trainer: Trainer
    """The run itself, after its three steps; its folder is removed."""
    clips: int
    """Number of clips to embed: those of each step, or, with a feature cache, each cached clip once."""
    step_seconds: float
    """Median time of the steps made, data included."""
    memory_bytes: int
    """Peak memory of those steps: on a CUDA device there, else of this process without its workers."""
    checkpoint_bytes: int
    """Size of one checkpoint."""
    problems: tuple[str, ...]
    """A line for each problem of the data."""


def dry_run(config: TrainConfig, dist: DistEnv = SINGLE_PROCESS) -> DryRun:
    """Make three steps of a run in a temporary folder. The run's own folder is not touched."""
    with TemporaryDirectory() as folder:
        # Pixels are read even if features are to be cached, because making features is what costs then.
        data = replace(config.data, feature_cache="", feature_draws=0)
        trainer = Trainer(replace(config, out=folder, data=data, wandb_project=""), dist)
        steps, seconds = min(STEPS, trainer.total_steps), []
        batches = iter(trainer.batches(0, steps))
        for _ in range(steps):
            started = time.perf_counter()
            trainer.train_step(next(batches))
            seconds.append(time.perf_counter() - started)
        tensors = state_dict(trainer.model, trainer.optimizer, trainer.ema)
        checkpoint = trainer.run_dir.checkpoints.save(Checkpoint(steps, tensors, trainer.fingerprint))
        for logger in trainer.loggers:
            logger.close()
        cached_clips = len(trainer.videos.samples) * max(1, config.data.feature_draws)
        return DryRun(
            trainer=trainer,
            clips=cached_clips if config.data.feature_cache else trainer.total_steps * config.optim.batch_size,
            step_seconds=statistics.median(seconds),
            memory_bytes=peak_memory_bytes(trainer.model.device),
            checkpoint_bytes=checkpoint.stat().st_size,
            problems=tuple(dict.fromkeys([*trainer.warnings, *trainer.bad_videos, *_data_problems(trainer)])),
        )


def _data_problems(trainer: Trainer) -> Iterator[str]:
    """A line for each problem with the videos of a run whose lists are valid."""
    config, trained, names = trainer.config, trainer.videos.samples, trainer.videos.class_names
    counts = Counter(label for row in trained for label in row.labels)
    if missing := [name for label, name in enumerate(names) if not counts[label]]:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        yield f"{len(missing)} of {len(names)} classes have no training video: {shown}"
    yield from _file_problems(trained, config, "training")
    if trainer.val_videos:
        validation = trainer.val_videos.samples
        if shared := {row.path.resolve() for row in trained} & {row.path.resolve() for row in validation}:
            yield f"{len(shared)} of {len(validation)} validation videos are trained on: {min(map(str, shared))}"
        yield from _file_problems(validation, config, "validation")


def _file_problems(rows: Sequence[VideoSample], config: TrainConfig, which: str) -> Iterator[str]:
    """Lines about those of up to `MAX_OPENED` videos, spread over the list, that cannot be read or are too short."""
    sampling, num_frames = config.model.sampling, config.model.num_frames
    span = (num_frames - 1) * sampling.stride + 1 if sampling.kind == "dense" else num_frames
    looked_at, data = {row.path: row.source for row in rows[:: -(-len(rows) // MAX_OPENED)]}, config.data
    check, limit = partial(check_video, limits=data.limits), data.time_limit_seconds or math.inf
    outcomes = {outcome.item: outcome for outcome in run_in_processes(check, looked_at, data.workers, limit)}
    for path, source in looked_at.items():
        if problem := outcomes[path].problem:
            yield problem if source in problem else f"{source}: {problem}"
    short = sum(outcome.result is not None and outcome.result < span for outcome in outcomes.values())
    if short:
        clip = f"a clip of {span} frames, which repeats their last one"
        yield f"{short} of {len(looked_at)} {which} videos looked at are shorter than {clip}"
