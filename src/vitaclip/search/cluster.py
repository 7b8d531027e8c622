"""Videos embedded on a cluster: Ray Data deals them out to actors, each with the model, and replaces what it loses.

The process that asks is the only one that writes. What an actor had not handed over is embedded again, and what came
twice is known by the video's hash: that nothing is lost or double does not rest on the cluster.
"""

import math
import os
import pickle
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from vitaclip.data.reading.path import VideoPath
from vitaclip.moments.config import WindowsConfig
from vitaclip.moments.vectors import window_vectors
from vitaclip.plugins import ENVIRONMENT, load_plugins
from vitaclip.predictor import Predictor
from vitaclip.runtime import pick_device
from vitaclip.search.archive import Embedded, identify

_MOST, _BLOCKS = 16, 4
"""Videos of a block, at most, which is embedded again if its actor is lost; and blocks of each actor, at least, so that
all end at about the same time."""


def embed_on_ray(
    predictor: Predictor, windows: WindowsConfig, videos: Sequence[VideoPath], known: Collection[str]
) -> Iterator[Embedded]:
    """Embed videos on the cluster at RAY_ADDRESS, or on one that is started on this machine for as long as it takes; an
    engine of `Archive.add`. There is an actor for each GPU; without GPUs, for each `1 + data.workers` CPUs.

    Raises:
        ValueError: Ray is not installed, no cluster is at the address, or it fails.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # they would be sent over the network
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "WARNING")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError("Ray is not installed; pip install 'vitaclip[cluster]'") from error
    if not videos:
        return
    start, device = not ray.is_initialized(), predictor.model.device
    predictor.model.cpu()  # an actor may have no GPU
    given = ray.cloudpickle.dumps((predictor, windows, known))
    predictor.model.to(device)
    try:
        if start:
            plugins = {"env_vars": {ENVIRONMENT: os.environ.get(ENVIRONMENT, "")}}
            ray.init(runtime_env=plugins, log_to_driver=False, logging_level="ERROR")
        ray.data.DataContext.get_current().enable_progress_bars = False
        there, cpus = ray.cluster_resources(), 1 + predictor.data.workers
        gpus = int(there.get("GPU", 0))
        actors = gpus or max(1, int(there["CPU"] / cpus))
        blocks = max(math.ceil(len(videos) / _MOST), min(len(videos), _BLOCKS * actors))
        found = ray.data.from_items([pickle.dumps(video) for video in videos], override_num_blocks=blocks).map_batches(
            _Embedder,
            fn_constructor_args=(given,),
            compute=ray.data.ActorPoolStrategy(size=min(actors, blocks)),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=1 if gpus else min(cpus, int(there["CPU"])),
            num_gpus=1 if gpus else 0,
        )
        yield from (pickle.loads(row["found"]) for row in found.iter_rows())
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise ValueError(f"Ray: {str(error).rstrip().splitlines()[-1]}") from error  # the rest is a traceback
    finally:
        if start:
            ray.shutdown()


class _Embedder:
    """An actor."""

    def __init__(self, given: bytes) -> None:
        load_plugins()  # first: the model may have parts of theirs
        self._predictor, self._windows, self._known = pickle.loads(given)
        runtime = self._predictor.encoder.runtime
        self._predictor.model.to(pick_device(runtime.device)).prepare(runtime)

    def __call__(self, batch: Any) -> Iterator[Any]:
        """The `Embedded` of each of some videos, pickled."""
        import pyarrow

        videos = [pickle.loads(each) for each in batch["item"].to_pylist()]
        facts = [identify(video) for video in videos]
        new, own = (
            [v for v, (digest, _) in zip(videos, facts, strict=True) if digest not in self._known],
            self._predictor,
        )
        vectors = window_vectors(new, own.reader, own.encoder, self._windows, own.data)
        for video, (digest, state) in zip(videos, facts, strict=True):
            windows = None if digest in self._known else next(vectors)
            yield pyarrow.table({"found": [pickle.dumps((str(video.absolute()), digest, state, windows))]})
