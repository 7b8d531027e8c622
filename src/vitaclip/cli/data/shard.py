"""`vitaclip data shard`."""

from jsonargparse import ArgumentParser, Namespace

from vitaclip.cli.data import add_list_arguments
from vitaclip.cli.parser import as_dataclass
from vitaclip.cli.screen import print_table, terminal, track
from vitaclip.data.lists.sources import read_videos
from vitaclip.data.tools.packing import Packing, ShardConfig

DESCRIPTION = """\
Pack the videos of a list, or of a folder with a folder per class, into tar files of about equal size, in random order:
KEY.mp4 (or whatever the ending is) and KEY.cls, the class number, as webdataset has it. The videos stay as they are.
With class names, --out also holds classes.txt. Tar files are trained on by their folder, their address or a range of
them. A run that was stopped goes on: tar files that are there are finished.

examples:
  vitaclip data shard train.csv --classes names.txt --out shards/train
  vitaclip data shard my_videos/ --out shards/my_videos --max_gib 0.5
  vitaclip train --config own_videos --data.train "shards/train/shard-{000000..000041}.tar" \\
    --data.classes shards/train/classes.txt --out runs/sharded"""


def add_arguments(parser: ArgumentParser) -> None:
    """Which videos, to where, and how."""
    parser.add_argument("videos", help="a list file, a folder with one folder per class, or tar files to pack anew")
    add_list_arguments(parser)
    parser.add_argument("--out", type=str, required=True, help="folder for the tar files of this list alone")
    parser.add_class_arguments(ShardConfig)


def run(arguments: Namespace) -> int:
    """Pack and count."""
    videos = read_videos(
        arguments.videos, "videos", root=arguments.root, classes=arguments.classes, may_be_numbers=True
    )
    packing = Packing(videos, arguments.out, as_dataclass(ShardConfig, arguments))
    written = [*track(packing.run(), "writing tar files", len(packing.waiting))]
    rows = [
        ("videos", str(len(videos.samples))),
        ("tar files", str(len(packing.shards))),
        ("there already", str(len(packing.shards) - len(written))),
        ("gigabytes", f"{sum(file.stat().st_size for file in packing.shards) / 1e9:.3f}"),
    ]
    print_table(terminal(), arguments.out, ("packed", ""), rows)
    return 0
