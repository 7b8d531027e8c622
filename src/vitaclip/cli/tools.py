"""The tools that `vitaclip mcp` serves. Their texts, and those of arguments, are what the client's model reads."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, ParamSpec, TypeVar

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from vitaclip.evaluation.feature_cache import FileState, file_state
from vitaclip.explain.explanation import explain_video
from vitaclip.explain.picture import draw_explanation
from vitaclip.moments.config import MomentsConfig
from vitaclip.predictor import Predictor
from vitaclip.search.archive import Archive
from vitaclip.search.hits import SearchFilter
from vitaclip.search.parts import MANIFEST
from vitaclip.strings import one_line
from vitaclip.version import __version__

P = ParamSpec("P")
R = TypeVar("R")
Video = Annotated[str, Field(description="path of a video file where the server runs, or its address (http, https)")]
Classes = Annotated[
    Sequence[str], Field(description="names in plain words, such as 'opening a door'; none: those the server has")
]
Count = Annotated[int, Field(ge=1, description="how many answers, at most")]


class Tools:
    """What is called with one model, which is loaded before; one call at a time."""

    def __init__(
        self,
        predictor: Predictor,
        classes: Sequence[str],
        templates: Sequence[str],
        moments: MomentsConfig,
        archive: str = "",
        searcher: Predictor | None = None,
    ) -> None:
        """`classes` are the candidates of a call that names none; `searcher` is the model with frames as the archive's
        rows need them."""
        self._predictor, self._classes, self._templates, self._moments = predictor, tuple(classes), templates, moments
        self._archive, self._searcher, self._lock = archive, searcher, Lock()
        self._chosen, self._state = tuple[str, ...](), FileState()

    def serve(self) -> None:
        """Answer on standard output what is asked on standard input, until that ends."""
        server: MCPServer[Any] = MCPServer("vitaclip", version=__version__, log_level="WARNING")
        calls = (self.classify, self.find_moments, self.explain, *([self.search] if self._searcher else ()))
        for call in calls:
            server.add_tool(self._one_at_a_time(call))
        server.run("stdio")

    def classify(self, video: Video, classes: Classes = (), top_k: Count = 5) -> dict[str, Any]:
        """Which of some classes a video shows: the most probable ones with their probabilities, best first."""
        self._choose(classes)
        return self._predictor.predict(video, top_k).to_dict()

    def find_moments(
        self,
        video: Video,
        queries: Annotated[
            Sequence[str], Field(description="texts that are searched for, each on its own, in place of classes")
        ] = (),
        classes: Classes = (),
    ) -> dict[str, Any]:
        """When something happens in a video of any length: segments with start and end in seconds, and a score of 0 to
        1. None are found where nothing asked for happens."""
        if not queries:
            self._choose(classes)
        found = self._predictor.moments(video, self._moments, queries=queries, templates=self._templates)
        segments = [asdict(each) for each in found.segments]
        told = {"error": found.error, "note": found.note}
        return {"path": str(found.path), "duration_s": found.duration_s, "segments": segments} | told

    def explain(
        self,
        video: Video,
        classes: Classes = (),
        name: Annotated[str, Field(description="the class to explain; empty: the most probable one")] = "",
        top_k: Count = 5,
    ) -> list[dict[str, Any] | Image]:
        """Why a video is given its class: how much its probability falls as each frame is occluded, which classes are
        near, how the attention is spread, and a picture of it."""
        self._choose(classes)
        explanation = explain_video(self._predictor, video, name=name, top_k=top_k)
        figures = explanation.to_dict()
        del figures["attention"]["patches"]  # thousands of numbers; the picture shows them
        return [figures, Image(data=draw_explanation(explanation), format="png")]

    def search(
        self,
        queries: Annotated[
            Sequence[str],
            Field(description="texts, each a search of its own; ' + ' and ' - ' in one add and subtract meanings"),
        ],
        like: Annotated[Sequence[str], Field(description="paths of pictures or clips, each a search of its own")] = (),
        top_k: Count = 10,
        path: Annotated[str, Field(description="only paths that fit this pattern, such as '*/kitchen/*'")] = "",
        label: Annotated[str, Field(description="only videos that were indexed with this label")] = "",
        since: Annotated[str, Field(description="only files written on this day or later, such as 2026-01-31")] = "",
        until: Annotated[str, Field(description="only files written on this day or before")] = "",
    ) -> list[dict[str, Any]]:
        """The moments of the archive of videos that are most like texts, pictures or clips: path, start and end in
        seconds, and the cosine as a score."""
        assert self._searcher
        wanted: list[str | Path] = [*queries, *map(Path, like)]
        only = SearchFilter(path=path, label=label, since=since, until=until)
        state = file_state(Path(self._archive) / MANIFEST)
        if state != self._state or len(state) == 1:  # `vitaclip index` was here, or LanceDB, which has no such file
            self._opened, self._state = Archive.open(self._archive), state
        found = self._opened.search(self._searcher, wanted, top_k, only, self._templates)
        return [each.to_dict() for each in found]

    def _choose(self, classes: Sequence[str]) -> None:
        """Set the candidates, if they are others than those of the call before."""
        if not (names := tuple(classes) or self._classes):
            raise ValueError("no classes; name some")
        if names != self._chosen:
            self._predictor.set_classes(names, self._templates)
            self._chosen = names

    def _one_at_a_time(self, call: Callable[P, R]) -> Callable[P, R]:
        """Calls come from several threads, and candidates are set; a mistake is told in one line."""

        @wraps(call)
        def run(*arguments: P.args, **named: P.kwargs) -> R:
            with self._lock:
                try:
                    return call(*arguments, **named)
                except (ValueError, OSError) as error:
                    raise ToolError(one_line(error)) from error

        return run
