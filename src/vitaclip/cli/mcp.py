"""`vitaclip mcp`."""

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import ClassVar

from vitaclip.cli.options import ModelCommand
from vitaclip.cli.screen import terminal
from vitaclip.cli.search import load_searcher
from vitaclip.data.lists.sources import choose_classes
from vitaclip.moments.config import MomentsConfig
from vitaclip.predictor import Predictor
from vitaclip.search.archive import Archive


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
        """Load the model and serve."""
        try:
            from vitaclip.cli.tools import Tools
        except ImportError as error:
            raise ValueError("needs the package mcp; pip install 'vitaclip[mcp]'") from error
        names = choose_classes(self.data.classes) if self.data.classes else ()
        with redirect_stdout(sys.stderr):  # standard output is the protocol's
            searcher = load_searcher(self, Archive.open(self.archive), self.archive) if self.archive else None
            if not searcher:
                self.say_which(terminal())
            model = searcher.model if searcher else self.load_model()
            predictor = Predictor(model, views=self.views, runtime=self.runtime, data=self.data)
            predictor.name = self.model_name
        moments = self.as_config(MomentsConfig)
        Tools(predictor, names or predictor.class_names, self.templates, moments, self.archive, searcher).serve()
        return 0
