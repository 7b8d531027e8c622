"""`vitaclip index` and `vitaclip search`."""

import json
import re
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from vitaclip.cli.command import argument
from vitaclip.cli.options import DATA_SETTINGS, ModelCommand, VideosCommand, distinct_stems, read_listed
from vitaclip.cli.screen import print_error, progress_bars, terminal
from vitaclip.data.config import ViewsConfig
from vitaclip.data.lists.video_list import find_videos_below
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.reading.tar import to_video_path
from vitaclip.data.workers import expect_processes
from vitaclip.evaluation.feature_cache import FileState, file_state
from vitaclip.files import check_place
from vitaclip.moments.clips import check_clips, cut_clips
from vitaclip.moments.config import WindowsConfig
from vitaclip.moments.table import Moments, Segment
from vitaclip.predictor import Predictor
from vitaclip.report.hits import write_hits
from vitaclip.search.archive import Archive, Changes
from vitaclip.search.cluster import embed_on_ray
from vitaclip.search.hits import Hits, SearchFilter
from vitaclip.settings import FLAG, PositiveInt
from vitaclip.strings import counted

WATCH_SECONDS = 2.0
"""From one look at watched folders to the next."""


@dataclass(frozen=True, kw_only=True)
class Index(VideosCommand, WindowsConfig):
    """Make an archive of videos that `vitaclip search` searches, or bring it up to date: new and changed files are
    embedded, moved ones found again, and files of a folder that are gone forgotten. A stopped command goes on where it
    was. Archives among the videos are merged into this one.

    examples:
      vitaclip index my_videos/ --model runs/doors --out archive
      vitaclip index my_videos/ --model runs/doors --shard 0/2 --out part0
      vitaclip index part0 part1 --out archive
      vitaclip index my_videos/ --model runs/doors --out archive --watch
      vitaclip index my_videos/ --model runs/doors --out archive.lance --engine ray
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("model", "backbone", "out", "lengths_s", "hop", "shard", "engine", "watch", "data.workers", "runtime.device"),
    )
    kept: ClassVar[Mapping[str, Collection[str]]] = {
        "data": DATA_SETTINGS,
        "views": ("frames", "crop", "pixel_aspect", "normalization"),
    }
    unread: ClassVar[Collection[str]] = ("template",)
    out: str = argument("", required=True)
    """Folder of the archive."""
    shard: str = ""
    """`i/n`, i from 0: index the i-th of n parts of the videos alone, into an archive of its own, so that n processes
    share the work, such as those of a SLURM array."""
    engine: Literal["here", "ray"] = "here"
    """ray: the cluster at RAY_ADDRESS, or else one that is started on this machine, embeds the videos."""
    watch: bool = field(default=False, metadata=FLAG)
    """Look at the folders again and again, until Ctrl-C: what is new or has changed is indexed once it rests."""

    def run(self) -> int:
        """Index every video; 1 if some could not be read."""
        expect_processes(self.data)  # before LanceDB starts threads
        command, archive = self.with_model_first(), Archive.open(self.out)
        others = [word for word in command.videos if Archive.is_at(word)]
        archive.merge([Archive.open(word) for word in others])
        command = replace(command, videos=tuple(word for word in command.videos if word not in others))
        status = 0
        for changes in command.add_to(archive) if command.videos else [Changes()]:
            for line in changes.damaged:
                print_error(line)
                status = 1
            parts = ("known again", changes.known), ("as before", changes.same), ("gone", changes.removed)
            more = "".join(f", {count:,} {what}" for what, count in parts if count)
            files = archive.store.files.values()
            damaged = sum(not entry.video for entry in files)
            known = f", and {damaged:,} damaged" * bool(damaged)
            done = f"{counted(changes.embedded, 'video')} embedded{more}"
            terminal().print(f"{done}; {self.out} has {counted(len(files) - damaged, 'file')}{known}")
        return status

    def add_to(self, archive: Archive) -> Iterator[Changes]:
        """Embed what the archive lacks, under a bar; with `watch` again whenever there is something to do."""
        if not (shard := re.fullmatch(r"(\d+)/(\d+)", self.shard or "0/1")) or int(shard[1]) >= int(shard[2]):
            raise ValueError(f"--shard: {self.shard!r}: write i/n with i from 0 to n - 1, such as 0/4")
        folders = [Path(word) for word in self.videos if Path(word).is_dir()]
        if self.watch and len(folders) < len(self.videos):
            raise ValueError("--watch: only folders are watched; name nothing else")
        found = _resting(folders) if self.watch else [self.find_videos()]
        listed = [each for each in map(read_listed, self.videos) if each and each.class_names]
        labels = {
            str(sample.path.absolute()): tuple(each.class_names[n] for n in sample.labels)
            for each in listed
            for sample in each.samples
        }
        self.say_which(terminal())
        predictor = self.make_predictor()
        with progress_bars(terminal(stderr=True, quiet=self.watch)) as progress:
            bar = progress.add_task("indexing", total=None)
            for videos in found:
                changes = archive.add(
                    predictor,
                    videos,
                    self.as_config(WindowsConfig),
                    labels=labels,
                    shard=(int(shard[1]), int(shard[2])),
                    below=folders,
                    engine=embed_on_ray if self.engine == "ray" else None,
                    on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
                )
                progress.stop()  # before anything is printed
                yield changes


def _resting(folders: Sequence[Path]) -> Iterator[list[VideoPath]]:
    """None; then, without end, the videos of some folders that are as they were a pause ago, whenever these change. So
    what is being written is left out, and a video that is moved is found again in the look that misses it."""
    yield []
    before, told = dict[VideoPath, FileState](), dict[VideoPath, FileState]()
    while True:
        time.sleep(WATCH_SECONDS)
        if not all(folder.is_dir() for folder in folders):  # a disk that was taken out holds its videos still
            continue
        now: dict[VideoPath, FileState] = {
            path: file_state(path) for folder in folders for path in find_videos_below(folder)
        }
        resting = {path: state for path, state in now.items() if before.get(path) == state}
        just_gone = {path: told[path] for path in told.keys() & before.keys() - now.keys()}
        if resting | just_gone != told:
            yield [*resting]
        before, told = now, resting | just_gone


@dataclass(frozen=True, kw_only=True)
class Search(ModelCommand, SearchFilter):
    """Find the moments of an archive that are most like a text, a picture or a clip.

    examples:
      vitaclip search archive "a door is opened"
      vitaclip search archive "opening a door - a car door" "a dog runs" --path "*/my_videos/*"
      vitaclip search archive --like clip.mp4 --page found.html
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("model", "like", "top_k", "json", "page", "clips", "path", "label", "since", "until", "template"),
    )
    kept: ClassVar[Mapping[str, Collection[str]]] = {"data": DATA_SETTINGS, "views": ()}
    archive: str = argument(positional=True)
    """Folder that `vitaclip index` made."""
    queries: tuple[str, ...] = argument((), positional=True, nargs="*")
    """Texts, each a search of its own; ` + ` and ` - ` in one add and subtract what texts mean."""
    like: tuple[str, ...] = argument((), action="append")
    """A picture or a clip to search with; may be repeated."""
    top_k: PositiveInt = 10
    """Moments for each query."""
    json: bool = argument(False, positional=False, action="store_true")
    """Print JSON, with scores and seconds unrounded."""
    page: str = ""
    """Write an HTML file with a film strip for each moment."""
    clips: str = ""
    """Cut the moments out of the videos, into this folder: without encoding, from the key frame before."""

    def run(self) -> int:
        """Print the moments of each query."""
        if self.like:
            expect_processes(self.data)
        archive = Archive.open(self.archive)
        wanted: list[str | Path] = [*self.queries, *map(Path, self.like)]
        if not wanted:
            raise ValueError("nothing to search for; give a text in quotes, or --like with a picture or a clip")
        if self.page:
            check_place(self.page, self.like)
        predictor = load_searcher(self, archive, self.archive)
        found = archive.search(predictor, wanted, self.top_k, self.as_config(SearchFilter), self.templates)
        if self.page:
            write_hits(self.page, found, self.data)
        if self.clips:
            self._cut(found)
        if self.json:
            terminal().print(json.dumps([each.to_dict() for each in found]))
            return 0
        for each in found:
            if len(found) > 1:
                terminal().print(each.query, style="bold")
            for number, hit in enumerate(each.hits, 1):
                terminal().print(f"#{number} {hit}")
            if not each.hits:
                terminal().print("no video fits the filters")
        return 0

    def _cut(self, found: Sequence[Hits]) -> None:
        """Cut out the moments of each video."""
        segments = defaultdict[VideoPath, list[Segment]](list)
        for each in found:
            for hit in each.hits:
                segments[to_video_path(hit.path)].append(Segment(hit.start_s, hit.end_s, each.query, hit.score))
        stems = distinct_stems([*segments])
        check_clips(self.clips, stems.values())
        for path, own in segments.items():
            moments = Moments(path, segments=tuple(own))
            cut_clips(moments, self.clips, limits=self.data.limits, stem=stems[path])


def load_searcher(command: ModelCommand, archive: Archive, name: str) -> Predictor:
    """The model that is named, or that of the archive's rows, with frames taken as for these."""
    models = list(archive.store.models.values())
    if not models:
        raise ValueError(f"{name}: no archive; make one with `vitaclip index FOLDER --out {name}`")
    about = models[0]
    if not command.model and not command.backbone:
        if len(models) > 1:
            names = ", ".join(each["model"] for each in models)
            raise ValueError(f"{name}: has rows of several models; name one of them with --model: {names}")
        command = replace(command, **{"backbone" if about["plain"] else "model": about["model"]})
    return replace(command, views=ViewsConfig(**about["views"])).make_predictor()
