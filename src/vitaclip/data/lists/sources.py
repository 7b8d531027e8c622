"""Where videos come from: a list file, a folder of class folders, tar files; always with the names of the classes."""

from collections.abc import Sequence
from pathlib import Path

from vitaclip.catalog import dataset_names, load_dataset_classes
from vitaclip.data.lists.class_file import read_class_names
from vitaclip.data.lists.shards import names_shards, read_shards
from vitaclip.data.lists.video_list import VideoList, is_video_name, read_folder, read_list
from vitaclip.data.reading.container import VIDEO_SUFFIXES, VideoError
from vitaclip.data.reading.frame_folder import is_frame_folder
from vitaclip.data.reading.index_cache import IndexCache
from vitaclip.data.reading.member import VideoPath
from vitaclip.data.reading.tar import to_video_path
from vitaclip.names import check_class_names, quoted
from vitaclip.strings import did_you_mean

_CLASSES_REMEDY = (
    "give a file with one name a line, a name that `vitaclip list classes` lists, or names with commas between"
)


def read_videos(
    source: str,
    setting: str,
    *,
    root: str = "",
    classes: str = "",
    class_names: Sequence[str] | None = None,
    cache: IndexCache | None = None,
    keep_absent: bool = False,
) -> VideoList:
    """Read and check the videos of a setting.

    Args:
        source: a list file, a folder of class folders, or what `find_shards` takes.
        setting: what the user calls it, for messages, such as `data.train`.
        root: folder that paths of a list are relative to; empty: the list's own.
        classes: as `choose_classes` takes it; empty: `class_names`, or else the names of the folders.
        class_names: class names already known.
        cache: where to find, or else to put, what tar files hold.
        keep_absent: see `read_list`; for evaluations whose `on_error` is "skip".

    Raises:
        ValueError: if there is nothing there, if a list comes without class names, or for any bad row.
    """
    if not source:
        raise ValueError(f"{setting} is not set; give a list file or a folder with one folder per class")
    if classes:
        class_names = choose_classes(classes)
    if class_names is None and (names_shards(source) or not Path(source).is_dir()):
        what = "tar files need" if names_shards(source) else "a list needs"
        raise ValueError(f"{setting} = {source}: {what} class names; {_CLASSES_REMEDY}")
    return read_source(source, root, class_names, cache, keep_absent=keep_absent)


def read_source(
    source: str,
    root: str = "",
    class_names: Sequence[str] | None = None,
    cache: IndexCache | None = None,
    *,
    keep_absent: bool = False,
) -> VideoList:
    """Read and check videos as `read_videos` does; without class names, labels of lists and tar files are numbers.

    Raises:
        ValueError: for any bad row.
    """
    if names_shards(source):
        return read_shards(source, class_names, cache)
    if Path(source).is_dir():
        return read_folder(source, class_names, keep_absent=keep_absent)
    return read_list(source, root or None, class_names, keep_absent=keep_absent)


def choose_classes(classes: str, *, distinct: bool = True) -> tuple[str, ...]:
    """Class names from what a setting says: an existing file with one a line goes first, then the name of a data set
    of the catalogue (whose wording is taken), then a list with commas between the names.

    Raises:
        ValueError: if it is none of them, or the names are not distinct and must be.
    """
    if _is_file(classes):
        return read_class_names(classes, distinct=distinct)
    if classes in dataset_names():
        return load_dataset_classes(classes).prompts
    if "," in classes:
        return check_class_names([name.strip() for name in classes.split(",")], "classes", distinct=distinct)
    hint = did_you_mean(classes, dataset_names())
    raise ValueError(
        f"classes = {quoted(classes)[1:-1]}: neither a file nor a data set of the catalogue{hint}; {_CLASSES_REMEDY}"
    )


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except OSError:  # a list of names may be too long for a path
        return False


def find_videos(paths: Sequence[str | Path]) -> list[VideoPath]:
    """Video files as given, and all those with a video's ending anywhere below given folders, sorted. A folder without
    any whose own content is numbered pictures is itself one video.

    Raises:
        ValueError: if a folder holds no video. A missing file or member is named when opened, like other bad ones.
    """
    found: list[VideoPath] = []
    for given in paths:
        try:
            path = to_video_path(given)
        except VideoError:
            path = Path(given)
        if isinstance(path, Path) and path.is_dir():
            inside = sorted(file for file in path.rglob("*") if is_video_name(file))
            if not inside and is_frame_folder(path):
                inside = [path]
            if not inside:
                raise ValueError(f"{path}: no video in this folder (endings: {', '.join(sorted(VIDEO_SUFFIXES))})")
            found += inside
        else:
            found.append(path)
    return found
