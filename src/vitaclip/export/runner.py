"""Using an exported model. Nothing here imports torch, unless the model was exported for it.

Axes: B videos, V views, T frames, S x S pixels, K classes, P templates, L tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitaclip.backbones.config import TextLayoutConfig
from vitaclip.backbones.tokenizer import Tokenizer, read_vocabulary
from vitaclip.export.pixels import Pixels, read_views
from vitaclip.names import check_class_names, in_words, text_key
from vitaclip.parts.heads.prompt_layout import LearnedTextConfig, lay_out_prompts
from vitaclip.settings import from_dict
from vitaclip.untrusted import read_json

DESCRIPTION = "export.json"
"""The file that says what the others take and give."""
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2"}
"""Of the files of each format."""
Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], Sequence[Array]]


class Predictor:
    """An exported model with a list of classes in mind; see `vitaclip.Predictor` for one with torch.

    >>> predictor = Predictor("exported")  # doctest: +SKIP - what `vitaclip export miniature` wrote
    >>> predictor.set_classes(["red heart moving right", "red heart moving left"])  # doctest: +SKIP
    >>> [*predictor.predict("video.mp4")]  # doctest: +SKIP
    ['red heart moving left', 'red heart moving right']
    """

    def __init__(self, folder: str | Path, *, views: int = 3) -> None:
        """Open what `vitaclip export` wrote.

        Args:
            folder: where it lies.
            views: V, the clips that are spread over a video; their probabilities are averaged.
        """
        self.folder, self.views = Path(folder), views
        self.about = read_json(self.folder / DESCRIPTION)
        suffix = SUFFIXES[self.about["format"]]
        self._video, self._score = (open_graph(self.folder / f"{name}{suffix}") for name in ("video", "score"))
        self._text = TextReader(self.folder, self.about["text"], suffix) if self.about["text"] else None
        self._own = {text_key(in_words(name)): number for number, name in enumerate(self.about["classes"])}
        self.class_names: tuple[str, ...] = tuple(self.about["classes"])
        self._columns: list[int] | None = list(range(len(self._own)))
        self._features: Array | None = None

    def set_classes(self, names: Sequence[str]) -> None:
        """Choose the K candidates. Those that were exported, or some of them, cost nothing; others are read as texts.

        Raises:
            ValueError: no names, two that are one, or a model that reads no texts and does not have them.
        """
        names = check_class_names(names, "set_classes")
        numbers = [self._own.get(text_key(in_words(name))) for name in names]
        self._columns = [number for number in numbers if number is not None]
        if len(self._columns) < len(names):
            if self._text is None:
                missing = names[numbers.index(None)]
                raise ValueError(f"{self.folder}: serves its own {len(self._own)} classes alone, not {missing!r}")
            self._columns, self._features = None, self._text.encode(names)
        self.class_names = names

    def predict(self, video: str | Path) -> dict[str, float]:
        """The probability of each candidate, the most probable first.

        Raises:
            ValueError: no classes are set, or the video cannot be read (a `VideoError`).
        """
        if not self.class_names:
            raise ValueError("no classes are set; call set_classes([...]) first")
        logits = self.logits(read_views(Path(video), self.about["video"], self.views))
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (exponents / exponents.sum(axis=1, keepdims=True)).mean(axis=0)
        return {self.class_names[number]: float(probabilities[number]) for number in np.argsort(-probabilities)}

    def logits(self, views: Pixels) -> Array:
        """Logits (V, K) of views, uint8 (V, T, 3, S, S)."""
        features, *scores = self._video({"video": views})
        if self._columns is not None:
            return scores[0][:, self._columns]
        assert self._features is not None
        return self._score({"features": features, "classes": self._features})[0]

    def encode(self, video: str | Path) -> Array:
        """What stands for the views of a video, (V, ...): of unit length for most models."""
        return self._video({"video": read_views(Path(video), self.about["video"], self.views)})[0]


class TextReader:
    """Names to what videos are compared with."""

    def __init__(self, folder: Path, about: Mapping[str, Any], suffix: str) -> None:
        self._about, self._run = about, open_graph(folder / f"text{suffix}")
        layout = from_dict(TextLayoutConfig, about["layout"])
        vocabulary = read_vocabulary(folder / about["tokenizer"])
        self._tokenizer = Tokenizer(vocabulary, layout, full_length=about["full_length"])

    def encode(self, names: Sequence[str]) -> Array:
        """(K, ...) of K names."""
        return self._run(text_inputs(names, self._tokenizer, self._about))[0]


def text_inputs(names: Sequence[str], tokenizer: Tokenizer, about: Mapping[str, Any]) -> dict[str, Array]:
    """What the function of texts takes for K names: ids (K, L), the slots of the context and the ends, or for names in
    P templates ids (K, P, L) and ends (K, P)."""
    length = about["context_length"]
    if about["context"]:
        ids, slots, end = lay_out_prompts(names, tokenizer, from_dict(LearnedTextConfig, about["context"]), length)
        return {"ids": np.array(ids), "slots": np.array(slots), "end": np.array(end)}
    texts = [template.replace("{}", in_words(name)) for name in names for template in about["templates"]]
    rows, ends = tokenizer.lay_out(tokenizer.cut(texts, length), length)
    shape = len(names), len(about["templates"])
    return {"ids": np.array(rows).reshape(*shape, -1), "end": np.array(ends).reshape(shape)}


def open_graph(file: Path) -> Run:
    """One of the functions in a file, to be called with its inputs by name; it gives its outputs in their order.

    Raises:
        ModuleNotFoundError: what runs such files is not installed.
    """
    if file.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=onnxruntime.get_available_providers())
        return lambda inputs: session.run(None, dict(inputs))
    if file.suffix == ".xml":
        import openvino

        compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda inputs: [*compiled(dict(inputs)).values()]
    import torch

    module = torch.export.load(file).module(check_guards=False)

    def run(inputs: Mapping[str, Array]) -> Sequence[Array]:
        found = module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return [each.detach().numpy() for each in found]

    return run
