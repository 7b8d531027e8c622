"""A few steps of a run without the run: what it will cost, and what is wrong with its data. Nothing is kept."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory

from vitaclip.config import TrainConfig, VideoLimits
from vitaclip.data import (
    FrameSampling,
    VideoError,
    VideoList,
    VideoPath,
    VideoSample,
    frame_sampling,
    index_cache,
    open_source,
    read_videos,
)
from vitaclip.distributed import SINGLE_PROCESS, DistEnv
from vitaclip.train.build import build_trainer
from vitaclip.train.checkpoint import Checkpoint, collect
from vitaclip.train.pace import peak_memory_bytes
from vitaclip.train.trainer import Trainer

STEPS = 3
LOOKED_AT = 64
"""Videos of each list that are opened."""


@dataclass(frozen=True)
class Rehearsal:
    """What a run would be."""

    trained: dict[str, int]
    """Numbers that train, by kind."""
    frozen: int
    """Numbers of the backbone that do not."""
    videos: int
    classes: int
    steps: int
    clips: int
    """Clips that go through the image tower: those of every step, or each that is kept in the feature cache, once."""
    step_seconds: float
    """Median of the steps made, data included."""
    memory_bytes: int
    """Peak of those steps: on a CUDA device there, else of this process (workers have their own)."""
    checkpoint_bytes: int
    """Size of one checkpoint."""
    problems: tuple[str, ...]
    """What is wrong with the data, a line each."""


def rehearse(config: TrainConfig, dist: DistEnv = SINGLE_PROCESS) -> Rehearsal:
    """Make three steps of a run in a folder that is removed afterwards; its own folder is not looked at.

    Raises:
        ValueError: for whatever `build_trainer` refuses, such as a list with missing files.
    """
    with TemporaryDirectory() as folder:
        # On pixels also where features would be kept: making them is what such a run costs.
        data = replace(config.data, feature_cache="", feature_draws=0)
        trainer = build_trainer(replace(config, out=folder, data=data, wandb_project=""), dist=dist)
        batches = iter(trainer.batches(0, min(STEPS, trainer.steps)))
        seconds = list(_seconds_of_steps(lambda: trainer.train_step(next(batches)), min(STEPS, trainer.steps)))
        tensors = collect(trainer.model, trainer.optimizer, trainer.average)
        checkpoint = trainer.checkpoints.save(Checkpoint(len(seconds), tensors, trainer.identity))
        for logger in trainer.loggers:
            logger.close()
        trained = VideoList(tuple(trainer.rows), tuple(trainer.class_names))
        return Rehearsal(
            trained=trainer.model.trained_counts(),
            frozen=sum(p.numel() for p in trainer.model.backbone.parameters() if not p.requires_grad),
            videos=len(trained.rows),
            classes=len(trained.class_names),
            steps=trainer.steps,
            clips=_clips_to_embed(config, trainer),
            step_seconds=statistics.median(seconds),
            memory_bytes=peak_memory_bytes(trainer.model.device),
            checkpoint_bytes=checkpoint.stat().st_size,
            problems=tuple(
                dict.fromkeys([*trainer.warnings, *trainer.bad_videos.lines, *data_problems(config, trained)])
            ),
        )


def _clips_to_embed(config: TrainConfig, trainer: Trainer) -> int:
    if config.data.feature_cache:
        return len(trainer.rows) * max(1, config.data.feature_draws)
    return trainer.steps * config.optim.batch_size


def _seconds_of_steps(step: Callable[[], object], count: int) -> Iterator[float]:
    for _ in range(count):
        started = time.perf_counter()
        step()
        yield time.perf_counter() - started


def data_problems(config: TrainConfig, trained: VideoList) -> list[str]:
    """What is wrong with the videos of a run whose lists are in order, a line each."""
    counts = Counter(label for row in trained.rows for label in row.labels)
    missing = [name for label, name in enumerate(trained.class_names) if not counts[label]]
    problems = []
    if missing:
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        problems.append(f"{len(missing)} of {len(trained.class_names)} classes have no training video: {shown}")
    sampling = frame_sampling(config.model.sampling, config.model.num_frames)
    problems += _problems_of_files(trained.rows, sampling, config.data.limits, "training")
    if config.data.val:
        validation = read_videos(
            config.data.val,
            "data.val",
            root=config.data.root,
            class_names=trained.class_names,
            cache=index_cache(config.data.index_cache),
        ).rows
        shared = {row.path.resolve() for row in trained.rows} & {row.path.resolve() for row in validation}
        if shared:
            problems.append(
                f"{len(shared)} of {len(validation)} validation videos are trained on: {min(map(str, shared))}"
            )
        problems += _problems_of_files(validation, sampling, config.data.limits, "validation")
    return problems


def _problems_of_files(
    rows: Sequence[VideoSample], sampling: FrameSampling, limits: VideoLimits, which: str
) -> list[str]:
    """Which of up to `LOOKED_AT` videos, spread over the list, cannot be read, and how many are too short."""
    looked_at = [rows[i * len(rows) // LOOKED_AT] for i in range(LOOKED_AT)] if len(rows) > LOOKED_AT else list(rows)
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
    """Frames of a video whose last one can be read."""
    with open_source(path, limits=limits) as video:
        video.frames([video.num_frames - 1])
        return video.num_frames
