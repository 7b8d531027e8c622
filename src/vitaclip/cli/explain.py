"""`vitaclip explain`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vitaclip.cli.options import VideosCommand, distinct_stems
from vitaclip.cli.screen import print_error, print_table, terminal, track
from vitaclip.data.lists.sources import choose_classes
from vitaclip.data.reading.path import VideoPath
from vitaclip.data.workers import expect_processes, run_in_processes
from vitaclip.explain.explanation import Explanation, check_candidates, explain_video
from vitaclip.explain.picture import draw_explanation
from vitaclip.files import atomic_write, check_own, check_place, write_json
from vitaclip.settings import PositiveInt


@dataclass(frozen=True, kw_only=True)
class Explain(VideosCommand):
    """Show why a video is given its name. For each frame of its middle clip: where the last block's cls token looks,
    how much of its attention goes to each kind of prompt, and the probability of the name when that frame is occluded
    (the nearest other frame takes its place). Then the same as more and more frames are occluded, most important first,
    the next most probable names, and the names whose texts are nearest. Prints tables and writes a picture and a JSON
    file a video.

    examples:
      vitaclip explain clip.mp4 --classes "red heart growing, red heart shrinking, red heart moving up"
      vitaclip explain runs/own_videos clip.mp4
      vitaclip explain my_videos/ --model runs/own_videos/model --out explained
      vitaclip explain clip.mp4 --model runs/own_videos/model --name "opening a door"
      vitaclip explain clip.mp4 --backbone miniature --classes names.txt --views.temporal 1
    """

    shown: ClassVar[tuple[str, ...]] = (
        *("model", "backbone", "data.classes", "template", "name", "top_k", "out", "views", "data.workers"),
        "runtime.device",
    )
    name: str = ""
    """The candidate to explain, instead of the predicted one."""
    top_k: PositiveInt = 5
    """How many names to show."""
    out: str = "explained"
    """Folder for a .png and a .json file a video."""

    def run(self) -> int:
        """Explain every file; 1 if some could not be read."""
        command = self.with_model_first()
        paths, folder = [*dict.fromkeys(command.find_videos())], Path(self.out)
        stems = distinct_stems(paths)
        _check_places(folder, [*stems.values()])
        if self.data.classes:  # before a model is loaded
            check_candidates(choose_classes(self.data.classes), self.name, self.top_k)
        check_place(folder / f"{stems[paths[0]]}.json", command.inputs)
        expect_processes(self.data)  # they start while the model is loaded
        predictor = command.load_predictor()
        explanations: dict[VideoPath, Explanation] = {}
        failures = []
        limit = self.data.time_limit_seconds or math.inf
        outcomes = run_in_processes(predictor.reader.load, paths, self.data.workers, limit)
        for outcome in track(outcomes, "explaining", len(paths)):
            if outcome.result is None:
                failures.append(outcome.problem)
                continue
            path, file = outcome.item, folder / f"{stems[outcome.item]}.json"
            explanation = explain_video(predictor, path, name=self.name, top_k=self.top_k, loaded=outcome.result)
            write_json(file, explanation.to_dict())
            with atomic_write(file.with_name(f"{stems[path]}.png")) as temporary:
                temporary.write_bytes(draw_explanation(explanation))
            explanations[path] = explanation
        for path in filter(explanations.get, paths):
            _print(explanations[path])
        if explanations:
            terminal().print(f"pictures and figures: {folder.resolve()}")
        for failure in failures:
            print_error(failure)
        return 1 if failures else 0


def _check_places(folder: Path, stems: Sequence[str]) -> None:
    """Refuse, before the work, a folder that holds somebody else's files of these names; the JSON file tells whether
    the picture beside it is ours."""
    for stem in stems:
        file, picture = folder / f"{stem}.json", folder / f"{stem}.png"
        check_own(file, '"occlusion"', '"hiding"')
        if picture.exists() and not file.exists():
            raise ValueError(f"{picture}: was not written by vitaclip and would be lost; name another folder")


def _print(explanation: Explanation) -> None:
    console, masses, occlusion = terminal(), explanation.attention.mass, explanation.occlusion
    candidates = [
        (c.name, f"{c.probability:.1%}", f"{c.clip_probability:.1%}", f"{c.cosine:.3f}") for c in explanation.candidates
    ]
    number, clips = explanation.clip
    headings = ("name", "all clips", f"clip {number + 1} of {clips}", "cosine")
    print_table(console, f"{explanation.path}: {explanation.name}", headings, candidates)
    occluded = [f"{probability:.1%}" for probability in occlusion.single] or [""]  # of one frame, nothing
    parts = [[f"{fraction:.0%}" for fraction in mass.tolist()] for mass in masses.values()]
    rows = list(zip(map(str, explanation.frame_numbers), occluded, *parts, strict=True))
    said = "of each frame: the probability with it occluded, and where the attention goes"
    print_table(console, said, ("frame", "occluded", *masses), rows)
    if explanation.warning:
        console.print(explanation.warning, style="yellow")
    order = ", ".join(str(explanation.frame_numbers[t]) for t in occlusion.order[:-1])
    curve = ", ".join(f"{probability:.1%}" for probability in occlusion.curve)
    console.print(f"occluding more and more (frames {order}): {curve}")
    nearest = ", ".join(f"{near.name} {near.cosine:.2f}" for near in explanation.neighbours)
    console.print(f"nearest texts: {nearest}")
    console.print()
