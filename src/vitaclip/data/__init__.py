"""Video files to batches of bytes: lists, decoding, sampling, transforms, data sets, loader.

Nothing here knows a model. Videos are uint8 (B, V, T, 3, H, W), without V in training; the model normalises them.
`lists` says which videos there are; `sampling` says which frames; `reading` decodes them; `transforms` crops and
augments; `loading` makes samples and batches of them, in `workers`. `prepare` and `tools` serve data sets before any
training.
"""

from vitaclip.data.labels import label_tensor, multi_hot
from vitaclip.data.lists.class_names import choose_classes, read_class_names
from vitaclip.data.lists.list_file import read_list
from vitaclip.data.lists.selection import draw_shots, list_text
from vitaclip.data.lists.sources import find_videos, names_shards, read_folder, read_videos
from vitaclip.data.lists.video_list import VideoList, VideoSample
from vitaclip.data.loading.clips import (
    EvalViews,
    FixedAugmentation,
    LoadedVideo,
    ReadOptions,
    TrainClips,
    eval_views,
    read_options,
)
from vitaclip.data.loading.dataset import EvalDataset, Sample, TrainDataset
from vitaclip.data.loading.loader import EvalBatch, TrainBatch, eval_batches, train_batches
from vitaclip.data.reading.container import VIDEO_SUFFIXES, VideoError
from vitaclip.data.reading.decode import Video, open_video
from vitaclip.data.reading.frame_folder import open_source
from vitaclip.data.reading.member import ShardMember, VideoPath
from vitaclip.data.reading.tar import to_video_path
from vitaclip.data.rng import Stream, generator
from vitaclip.data.sampling import FrameSampling, frame_sampling
from vitaclip.data.transforms.randaugment import RandAugment, parse_randaugment
from vitaclip.data.transforms.train import TrainTransform
from vitaclip.data.workers import expect_processes

__all__ = [
    "VIDEO_SUFFIXES",
    "EvalBatch",
    "EvalDataset",
    "EvalViews",
    "FixedAugmentation",
    "FrameSampling",
    "LoadedVideo",
    "RandAugment",
    "ReadOptions",
    "Sample",
    "ShardMember",
    "Stream",
    "TrainBatch",
    "TrainClips",
    "TrainDataset",
    "TrainTransform",
    "Video",
    "VideoError",
    "VideoList",
    "VideoPath",
    "VideoSample",
    "choose_classes",
    "draw_shots",
    "eval_batches",
    "eval_views",
    "expect_processes",
    "find_videos",
    "frame_sampling",
    "generator",
    "label_tensor",
    "list_text",
    "multi_hot",
    "names_shards",
    "open_source",
    "open_video",
    "parse_randaugment",
    "read_class_names",
    "read_folder",
    "read_list",
    "read_options",
    "read_videos",
    "to_video_path",
    "train_batches",
]
