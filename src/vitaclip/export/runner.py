"""Using an exported model. Nothing here imports torch, unless the model was exported for it.

Axes: V views, T frames, S x S pixels, K classes, P templates, L tokens, M context tokens.
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
    """An exported model with a list of classes in mind; `vitaclip.Predictor` is one with torch.

    >>> predictor = Predictor("exported")  # doctest: +SKIP
    >>> predictor.set_classes(["red heart moving right", "red heart moving left"])  # doctest: +SKIP
    >>> [*predictor.predict("video.mp4")]  # doctest: +SKIP
    ['red heart moving left', 'red heart moving right']
    """

    def __init__(self, folder: str | Path, *, views: int = 3) -> None:
        """Open a folder that `vitaclip export` wrote; over `views` clips of a video the probabilities are averaged."""
        self.folder, self.views = Path(folder), views
        self.about = read_json(self.folder / DESCRIPTION)
        self.class_names = tuple(self.about["classes"])
        self._own = {text_key(in_words(name)): number for number, name in enumerate(self.class_names)}
        self._columns, self._features = [*self._own.values()], np.empty(0)
        self._encode, self._score = self._open("video"), self._open("score")

    def _open(self, name: str) -> Run:
        return open_graph(self.folder / f"{name}{SUFFIXES[self.about['format']]}")

    def set_classes(self, names: Sequence[str]) -> None:
        """Choose the K candidates. Those that were exported, or some of them, cost nothing; others are read as texts.

        Raises:
            ValueError: no names, two that are one, or a model that reads no texts and does not have them.
        """
        self.class_names = check_class_names(names, "set_classes")
        numbers = {name: self._own.get(text_key(in_words(name))) for name in self.class_names}
        self._columns = [number for number in numbers.values() if number is not None]
        if len(self._columns) == len(numbers):
            return
        self._columns, about = [], self.about["text"]
        if not about:
            missing = next(name for name, number in numbers.items() if number is None)
            raise ValueError(f"{self.folder}: serves its own {len(self._own)} classes alone, not {missing!r}")
        vocabulary, layout = (
            read_vocabulary(self.folder / about["tokenizer"]),
            from_dict(TextLayoutConfig, about["layout"]),
        )
        tokenizer = Tokenizer(vocabulary, layout, full_length=about["full_length"])
        (self._features,) = self._open("text")(text_inputs(self.class_names, tokenizer, about))

    def predict(self, video: str | Path) -> dict[str, float]:
        """The probability of each candidate, the most probable first.

        Raises:
            ValueError: no classes are set, or the video cannot be read (a `VideoError`).
        """
        if not self.class_names:
            raise ValueError("no classes are set; call set_classes([...]) first")
        logits = self.logits(self.load(video))
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (exponents / exponents.sum(axis=1, keepdims=True)).mean(axis=0)
        return {self.class_names[number]: float(probabilities[number]) for number in np.argsort(-probabilities)}

    def load(self, video: str | Path) -> Pixels:
        """The views of a video, uint8 (V, T, 3, S, S)."""
        return read_views(Path(video), self.about["video"], self.views)

    def encode(self, views: Pixels) -> Array:
        """What is compared with texts, (V, ...): of unit length for most models."""
        return self._encode({"video": views})[0]

    def logits(self, views: Pixels) -> Array:
        """(V, K) of views, as `load` gives them."""
        if self._columns:
            return self._encode({"video": views})[1][:, self._columns]
        return self._score({"features": self.encode(views), "classes": self._features})[0]


def text_inputs(names: Sequence[str], tokenizer: Tokenizer, about: Mapping[str, Any]) -> dict[str, Array]:
    """What the function of texts takes for K names: ids (K, L), slots (K, M) of the context and ends (K,), or in
    templates ids (K, P, L) and ends (K, P). `about` is what the description says of texts."""
    length, templates = about["context_length"], about["templates"]
    if about["context"]:
        ids, slots, end = lay_out_prompts(names, tokenizer, from_dict(LearnedTextConfig, about["context"]), length)
        return {"ids": np.array(ids), "slots": np.array(slots), "end": np.array(end)}
    texts = [template.replace("{}", in_words(name)) for name in names for template in templates]
    ids, end = tokenizer.lay_out(tokenizer.cut(texts, length), length)
    return {"ids": np.reshape(ids, (len(names), len(templates), -1)), "end": np.reshape(end, (len(names), -1))}


def open_graph(file: Path) -> Run:
    """One of the functions in a file: it takes its inputs by name and gives its outputs in their order."""
    if file.suffix == SUFFIXES["onnx"]:
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=onnxruntime.get_available_providers())
        return lambda inputs: session.run(None, dict(inputs))
    if file.suffix == SUFFIXES["openvino"]:
        import openvino

        compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda inputs: [*compiled(dict(inputs)).values()]
    import torch

    module = torch.export.load(file).module(check_guards=False)
    return lambda inputs: [
        each.detach().numpy() for each in module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
    ]
