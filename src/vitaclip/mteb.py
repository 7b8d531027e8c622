"""Models as mteb evaluates them, whose video tasks are the MVEB leaderboard (extra `mteb`).

Axes: n samples, D numbers of a vector.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Video
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ScoringFunction
from torch import Tensor

from vitaclip.data.reading.container import VideoError
from vitaclip.evaluation.class_texts import encode_classes
from vitaclip.predictor import Predictor
from vitaclip.runtime import RuntimeConfig


class MtebModel(AbsEncoder):  # type: ignore[misc]
    """An encoder of mteb: texts and videos become vectors that compare by their cosine. It is evaluated by
    `mteb.evaluate(MtebModel("runs/doors"), mteb.get_task("HMDB51ZeroShot"))`."""

    def __init__(
        self,
        model: str | Predictor,
        revision: str | None = None,
        device: str | None = None,
        *,
        templates: Sequence[str] = (),
    ) -> None:
        """Args:
        model: what `Predictor` loads, or one with settings of its own.
        revision: what results call this state of it; None: the fingerprint of its weights.
        device: where it computes, if it is loaded here; None: see `RuntimeConfig`.
        templates: texts with one `{}` each that texts are put in, in place of the learned context.
        """
        loaded = Predictor(model, runtime=RuntimeConfig(device=device or "auto")) if isinstance(model, str) else model
        self.predictor, self.templates = loaded, templates
        about: dict[str, Any] = {
            "name": f"vitaclip/{Path(loaded.name).name}",
            "similarity_fn_name": ScoringFunction.COSINE,
        }
        about |= {"revision": revision or loaded.provenance()["fingerprint"], "modalities": ["text", "video"]}
        self.mteb_model_meta = ModelMeta.create_empty(about)

    def encode(self, inputs: Any, **_: Any) -> Tensor:
        """(n, D) of a data loader of mteb; of samples with a text and a video, the sum of both. Videos are read from
        their files, as `predict` reads them.

        Raises:
            VideoError: a video cannot be read.
        """
        rows, vectors = inputs.dataset, []
        if "text" in rows.column_names:
            vectors.append(self._encode_texts(rows["text"]))
        if "video" in rows.column_names:
            files = (each["video"] for each in rows.cast_column("video", Video(decode=False)))
            found = [*self.predictor.embed(each["bytes"] or each["path"] for each in files)]
            if errors := [each.error for each in found if each.error]:
                raise VideoError(errors[0])
            vectors.append(F.normalize(torch.stack([each.vector for each in found]), dim=-1))
        return torch.stack(vectors).sum(dim=0)

    def _encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts longer than the tower takes lose words at their end; the leaderboard's other models cut them too."""
        try:
            with self.predictor.encoder.autocast():
                return F.normalize(encode_classes(self.predictor.model, texts, self.templates).features.cpu(), dim=-1)
        except ValueError:
            if len(texts) > 1:
                return torch.cat([self._encode_texts([text]) for text in texts])
            if " " not in texts[0]:
                raise
            return self._encode_texts([texts[0].rpartition(" ")[0]])
