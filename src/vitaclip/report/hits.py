"""A page of what a search found: a film strip for each moment, which plays in its video."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from vitaclip.data.config import DataConfig
from vitaclip.data.reading.container import VideoError
from vitaclip.data.reading.path import is_address
from vitaclip.data.reading.tar import to_video_path
from vitaclip.files import check_own, write_text
from vitaclip.report.html import film_strip, render_template
from vitaclip.search.hits import Hit, Hits, clock

_FRAMES = 6


def write_hits(page: str | Path, found: Sequence[Hits], data: DataConfig | None = None) -> Path:
    """Write one HTML file, which names the videos relative to it.

    Raises:
        ValueError: there is a file that is not of ours.

    >>> write_hits("found.html", archive.search(predictor, ["a door is opened"]))  # doctest: +SKIP
    PosixPath('found.html')
    """
    page = Path(page)
    check_own(page, "vitaclip")

    def strip(hit: Hit) -> tuple[list[str], str]:
        try:
            video = to_video_path(hit.path)
            return film_strip(video, data or DataConfig(), _FRAMES, (hit.start_s, hit.end_s)), ""
        except VideoError as error:
            return [], str(error)

    def source(hit: Hit) -> str:
        where = hit.path if is_address(hit.path) else quote(os.path.relpath(hit.path, page.parent.absolute()))
        return f"{where}#t={hit.start_s:.3f},{hit.end_s:.3f}"

    write_text(page, render_template("hits.html.j2", found=found, strip=strip, source=source, clock=clock))
    return page
