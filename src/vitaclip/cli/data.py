"""`vitaclip data`: the way from a downloaded data set to checked lists and small copies."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from vitaclip.cli.command import Command, argument
from vitaclip.cli.screen import print_table, terminal, track
from vitaclip.data.lists.sources import choose_classes
from vitaclip.data.prepare import prepare_dataset, write_preparation
from vitaclip.data.tools import (
    BadVideo,
    ResizeConfig,
    ScanConfig,
    find_copies,
    find_targets,
    make_copies,
    scan_videos,
    write_scan,
)
from vitaclip.files import check_place


@dataclass(frozen=True, kw_only=True)
class Prepare(Command):
    """Read the official annotations of a data set, find the videos, and write one list for each part (train, val, test;
    for UCF101 and HMDB51 train1 ... test3). Videos are searched at any depth below --root: in class folders with blanks
    or underscores, or in one flat folder, with any video ending, and for Kinetics with or without the times in the
    name. Classes are joined by name. --out also holds classes.txt (for --classes) and missing.txt.

    examples:
      vitaclip data prepare kinetics400 --root k400/videos --annotations k400/annotations --out lists/k400
      vitaclip data prepare ucf101 --root UCF-101 --annotations ucfTrainTestlist --out lists/ucf101
      vitaclip data prepare hmdb51 --root hmdb51 --annotations testTrainMulti_7030_splits --out lists/hmdb51
      vitaclip data prepare ssv2 --root 20bn-something-something-v2 --annotations labels --out lists/ssv2
    """

    dataset: str
    """kinetics400, kinetics600, kinetics700, ucf101, hmdb51 or ssv2."""
    root: str = argument(required=True)
    """Folder of the videos."""
    annotations: str = argument(required=True)
    """Folder of the official annotation files; Kinetics: or a csv."""
    out: str = argument(required=True)
    """New folder for the lists."""

    def run(self) -> int:
        """Join, write, and say what was found."""
        preparation = prepare_dataset(self.dataset, self.root, self.annotations)
        write_preparation(preparation, self.out)
        rows = [(name, str(found), str(missing)) for name, (found, missing) in preparation.counts().items()]
        print_table(terminal(), f"{self.dataset}: lists in {self.out}", ("list", "found", "missing"), rows)
        for note in preparation.notes:
            terminal().print(note)
        return 0


@dataclass(frozen=True, kw_only=True)
class Scan(ScanConfig, Command):
    """Open every video and decode its first, middle and last frame, on all cores. A file that hangs the codec is
    stopped after --time_limit_seconds, one that crashes it costs one process: either is named, and the others go on.
    With --out, write clean.csv, a list of the good ones, and bad.csv with what is wrong with each of the others. Exit
    status 1: some are bad.

    examples:
      vitaclip data scan train.csv --out scanned
      vitaclip data scan lists/k400/val.csv --classes kinetics400 --out scanned
      vitaclip data scan my_videos/ --time_limit_seconds 20
    """

    videos: str
    """A list file, a folder that is searched, or tar files."""
    root: str = ""
    """Folder that paths in the list are relative to."""
    classes: str = ""
    """Class names, as `vitaclip eval` takes them."""
    out: str = ""
    """Folder for clean.csv and bad.csv."""

    def run(self) -> int:
        """Check and print; 1 if something is bad."""
        if self.out:
            for name in ("bad.csv", "clean.csv"):
                check_place(Path(self.out) / name, [self.videos, self.classes])
        names = choose_classes(self.classes) if self.classes else None
        videos = find_targets(self.videos, self.root or None, names)
        console, total = terminal(stderr=True), len(videos.samples) + len(videos.problems)
        found = track(scan_videos(videos, self.as_config(ScanConfig)), "checking", total, console)
        bad: list[BadVideo] = []
        for each in filter(None, found):
            console.print(f"bad: {each.problem}", style="yellow")
            bad.append(each)
        if self.out:
            write_scan(videos, bad, self.out)
        kinds = Counter(each.kind for each in bad)
        rows = [("good", str(total - len(bad))), *((f"bad: {kind}", str(count)) for kind, count in kinds.items())]
        print_table(terminal(), self.videos, ("videos", ""), rows)
        return 1 if bad else 0


@dataclass(frozen=True, kw_only=True)
class Resize(ResizeConfig, Command):
    """Shrink all videos below a folder, on all cores: H.264 in mp4, key frames close together, turned as they are to be
    shown, every frame at its time, no sound. Copies keep their place in the folder. A run that was stopped goes on:
    copies that are there are finished. What cannot be shrunk is named, and the exit status is 1.

    examples:
      vitaclip data resize k400/videos k400/videos_256
      vitaclip data resize k400/videos k400/videos_320 --short_side 320 --workers 8
    """

    source: str
    """Folder of the videos, searched at any depth."""
    target: str
    """Folder for the copies."""

    def run(self) -> int:
        """Shrink and count; 1 if some failed."""
        config = self.as_config(ResizeConfig)
        copies = find_copies(self.source, self.target)
        waiting = {video: copy for video, copy in copies.items() if not copy.exists()}
        console, shrunk = terminal(stderr=True), []
        for outcome in track(make_copies(waiting, self.target, config), "shrinking", len(waiting), console):
            if outcome.error:
                console.print(f"failed: {outcome.problem}", style="yellow")
            else:
                shrunk.append(outcome.item)
        rows = [
            ("shrunk", str(len(shrunk))),
            ("there already", str(len(copies) - len(waiting))),
            ("failed", str(len(waiting) - len(shrunk))),
            ("megabytes before", f"{sum(video.stat().st_size for video in shrunk) / 1e6:.1f}"),
            ("megabytes after", f"{sum(copies[video].stat().st_size for video in shrunk) / 1e6:.1f}"),
        ]
        print_table(terminal(), self.target, ("videos", ""), rows)
        return int(len(shrunk) < len(waiting))
