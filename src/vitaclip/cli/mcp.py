"""`vitaclip mcp`: tools for an assistant. Their texts, and those of arguments, are what its model reads."""

import sys
from asyncio import Lock
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from vitaclip.cli.options import ModelCommand
from vitaclip.cli.screen import terminal
from vitaclip.cli.search import load_searcher
from vitaclip.data.lists.sources import choose_classes
from vitaclip.explain.explanation import explain_video
from vitaclip.explain.picture import draw_explanation
from vitaclip.moments.config import MomentsConfig
from vitaclip.predictor import Predictor
from vitaclip.search.archive import Archive
from vitaclip.search.hits import SearchFilter
from vitaclip.strings import one_line
from vitaclip.version import __version__

try:
    from mcp.server.mcpserver import Image, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from pydantic import Field
except ImportError as error:
    raise ValueError("vitaclip mcp needs the package mcp; pip install 'vitaclip[mcp]'") from error

Video = Annotated[str, Field(description="path of a video file where the server runs, or its address (http, https)")]
Classes = Annotated[Sequence[str], Field(description="names in plain words; none: those the server was started with")]
Queries = Annotated[
    Sequence[str], Field(description="texts, each searched for on its own; of moments in place of classes")
]
Count = Annotated[int, Field(ge=1, description="how many answers, at most")]


@dataclass(frozen=True, kw_only=True)
class Mcp(ModelCommand, MomentsConfig):
    """Serve tools to an assistant over standard input and output, as the Model Context Protocol has it: classify,
    find_moments, explain, and with --archive search. The assistant starts this command; the model is loaded once.

    examples:
      vitaclip mcp --model runs/doors --archive archive
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("model", "backbone", "archive", "data.classes", "template", "views", "lengths_s", "threshold"),
        "runtime.device",
    )
    archive: str = ""
    """Archive that `vitaclip index` made, which the tool `search` searches; its model is the one used if none is named.
    Empty: there is no such tool."""

    def run(self) -> int:
        """Load the model, and answer on standard output what is asked on standard input until that ends."""
        with redirect_stdout(sys.stderr):  # standard output is the protocol's
            searcher = load_searcher(self, Archive.open(self.archive), self.archive) if self.archive else None
            if not searcher:
                self.say_which(terminal())
            tools = _Tools(self, self.make_predictor(searcher.model if searcher else None), searcher)
        server = _Server("vitaclip", version=__version__, log_level="WARNING")
        for call in (tools.classify, tools.find_moments, tools.explain, *([tools.search] if searcher else ())):
            server.add_tool(call)
        server.run("stdio")
        return 0


@dataclass
class _Tools:
    command: Mcp
    predictor: Predictor
    searcher: Predictor | None
    """The same model, with frames as the archive's rows have them."""
    chosen: tuple[str, ...] = ()

    def classify(self, video: Video, classes: Classes = (), top_k: Count = 5) -> dict[str, Any]:
        """Which of some classes a video shows: the most probable ones with their probabilities, best first."""
        return self.choose(classes).predict(video, top_k).to_dict()

    def find_moments(self, video: Video, queries: Queries = (), classes: Classes = ()) -> dict[str, Any]:
        """When something happens in a video of any length: segments with start and end in seconds, and a score of 0 to
        1. There are none where nothing asked for happens."""
        predictor = self.predictor if queries else self.choose(classes)
        config, templates = self.command.as_config(MomentsConfig), self.command.templates
        found = predictor.moments(video, config, queries=queries, templates=templates)
        segments = [asdict(each) for each in found.segments]
        return {"duration_s": found.duration_s, "segments": segments, "error": found.error, "note": found.note}

    def explain(
        self,
        video: Video,
        classes: Classes = (),
        name: Annotated[str, Field(description="the class to explain; empty: the most probable one")] = "",
        top_k: Count = 5,
    ) -> list[dict[str, Any] | Image]:
        """Why a video is given its class: how its probability falls as each frame is occluded, which classes are near,
        where the attention goes, and a picture of it."""
        explanation = explain_video(self.choose(classes), video, name=name, top_k=top_k)
        figures = explanation.to_dict()
        del figures["attention"]["patches"]  # thousands of numbers; the picture shows them
        return [figures, Image(data=draw_explanation(explanation), format="png")]

    def search(
        self,
        queries: Queries,
        like: Annotated[Sequence[str], Field(description="paths of pictures or clips to search with as well")] = (),
        top_k: Count = 10,
        path: Annotated[str, Field(description="only paths that fit this pattern, such as '*/kitchen/*'")] = "",
        label: Annotated[str, Field(description="only videos that were indexed with this label")] = "",
        since: Annotated[str, Field(description="only files written on this day or later, such as 2026-01-31")] = "",
        until: Annotated[str, Field(description="only files written on this day or before")] = "",
    ) -> list[dict[str, Any]]:
        """The moments of the archive of videos that are most like texts, pictures or clips: path, start and end in
        seconds, and the cosine as a score. ' + ' and ' - ' in a text add and subtract meanings."""
        assert self.searcher
        wanted: list[str | Path] = [*queries, *map(Path, like)]
        only = SearchFilter(path=path, label=label, since=since, until=until)
        archive = Archive.open(self.command.archive)  # anew: `vitaclip index` may have changed it
        return [each.to_dict() for each in archive.search(self.searcher, wanted, top_k, only, self.command.templates)]

    def choose(self, classes: Sequence[str]) -> Predictor:
        """The model with these candidates, or else its own; they are encoded if they are others than before."""
        own = self.command.data.classes
        names = tuple(classes) or (choose_classes(own) if own else self.predictor.model.class_names)
        if names != self.chosen:
            self.predictor.set_classes(names, self.command.templates)
            self.chosen = tuple(names)
        return self.predictor


class _Server(MCPServer[Any]):
    """Answers one call at a time, because calls set candidates, and tells mistakes in one line."""

    busy = Lock()

    async def call_tool(self, name: str, arguments: dict[str, Any], context: Any = None) -> Any:
        async with self.busy:
            try:
                return await super().call_tool(name, arguments, context)
            except ToolError as error:
                if isinstance(error.__cause__, ValueError | OSError):
                    raise ToolError(one_line(error.__cause__)) from error.__cause__
                raise
