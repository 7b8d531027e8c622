"""A dry run: three steps of a run, to find what it would cost and what is wrong with its data. Nothing is kept."""

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory

from vitaclip.data import FrameSampling, VideoError, VideoList, VideoPath, VideoSample, frame_sampling, open_source
from vitaclip.data.config import VideoLimits
from vitaclip.distributed import SINGLE_PROCESS, DistEnv
from vitaclip.train.checkpoint import Checkpoint, state_dict
from vitaclip.train.config import TrainConfig
from vitaclip.train.inputs import read_val_list
from vitaclip.train.throughput import peak_memory_bytes
from vitaclip.train.trainer import Trainer

STEPS = 3
MAX_OPENED = 64
"""Number of videos of each list that are opened, at most."""


@dataclass(frozen=True)
class DryRun:
    """What a run would cost, and what is wrong with its data."""

    trained: dict[str, int]
    """Number of parameters that train, by kind."""
    frozen: int
    """Number of parameters of the backbone that do not."""
    videos: int
    classes: int
    steps: int
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
    """Make three steps of a run in a temporary folder. The run's own folder is not touched.

    Raises:
        ValueError: for whatever `Trainer` refuses, such as a list with missing files.
    """
    with TemporaryDirectory() as folder:
        # Pixels are read even if features are to be cached, because making features is what costs then.
        data = replace(config.data, feature_cache="", feature_draws=0)
        trainer = Trainer(replace(config, out=folder, data=data, wandb_project=""), dist)
        seconds = []
        steps = min(STEPS, trainer.total_steps)
        batches = iter(trainer.batches(0, steps))
        for _ in range(steps):
            started = time.perf_counter()
            trainer.train_step(next(batches))
            seconds.append(time.perf_counter() - started)
        tensors = state_dict(trainer.model, trainer.optimizer, trainer.ema)
        checkpoint = trainer.run_dir.checkpoints.save(Checkpoint(steps, tensors, trainer.fingerprint))
        for logger in trainer.loggers:
            logger.close()
        problems = [*trainer.warnings, *trainer.bad_videos.lines, *data_problems(config, trainer.videos)]
        cached_clips = len(trainer.videos.samples) * max(1, config.data.feature_draws)
        return DryRun(
            trained=trainer.model.trained_counts(),
            frozen=sum(p.numel() for p in trainer.model.backbone.parameters() if not p.requires_grad),
            videos=len(trainer.videos.samples),
            classes=len(trainer.videos.class_names),
            steps=trainer.total_steps,
            clips=cached_clips if config.data.feature_cache else trainer.total_steps * config.optim.batch_size,
            step_seconds=statistics.median(seconds),
            memory_bytes=peak_memory_bytes(trainer.model.device),
            checkpoint_bytes=checkpoint.stat().st_size,
            problems=tuple(dict.fromkeys(problems)),
        )


def data_problems(config: TrainConfig, trained: VideoList) -> list[str]:
    """A line for each problem with the videos of a run whose lists are valid."""
    counts = Counter(label for row in trained.samples for label in row.labels)
    missing = [name for label, name in enumerate(trained.class_names) if not counts[label]]
    problems = []
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        problems.append(f"{len(missing)} of {len(trained.class_names)} classes have no training video: {shown}")
    sampling = frame_sampling(config.model.sampling, config.model.num_frames)
    problems += _file_problems(trained.samples, sampling, config.data.limits, "training")
    if config.data.val:
        validation = read_val_list(config, trained.class_names).samples
        shared = {row.path.resolve() for row in trained.samples} & {row.path.resolve() for row in validation}
        if shared:
            problems.append(
                f"{len(shared)} of {len(validation)} validation videos are trained on: {min(map(str, shared))}"
            )
        problems += _file_problems(validation, sampling, config.data.limits, "validation")
    return problems


def _file_problems(rows: Sequence[VideoSample], sampling: FrameSampling, limits: VideoLimits, which: str) -> list[str]:
    """Lines about those of up to `MAX_OPENED` videos, spread over the list, that cannot be read or are too short."""
    count = min(len(rows), MAX_OPENED)
    looked_at = [rows[i * len(rows) // count] for i in range(count)]
    span = (sampling.num_frames - 1) * sampling.stride + 1 if sampling.kind == "dense" else sampling.num_frames
    problems, short = [], 0
    for row in looked_at:
        try:
            short += _length(row.path, limits) < span
        except VideoError as error:
            problems.append(str(error) if row.source == str(row.path) else f"{row.source}: {error}")
    if short:
        problems.append(
            f"{short} of {len(looked_at)} {which} videos looked at are shorter than a clip of {span} frames, which"
            " repeats their last one"
        )
    return problems


def _length(path: VideoPath, limits: VideoLimits) -> int:
    """The number of frames of a video, whose last one is read to be sure."""
    with open_source(path, limits=limits) as video:
        video.frames([video.num_frames - 1])
        return video.num_frames
