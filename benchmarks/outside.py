"""Our tasks as tasks of mteb, which computes the figures in its own way, from a search or an encoder."""

from collections.abc import Mapping, Sequence, Set
from typing import Any

import mteb
from datasets import Dataset, DatasetDict, Video
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification
from mteb.models import ModelMeta

from vitaclip.mteb import MtebModel

FIGURES = {
    **{"hit@1": "hit_rate_at_1", "hit@10": "hit_rate_at_10", "recall@1": "recall_at_1", "recall@10": "recall_at_10"},
    **{"nDCG@10": "ndcg_at_10", "MRR@10": "mrr_at_10"},
}
"""What mteb calls our figures. It rounds most of them to five digits."""
_ABOUT: Mapping[str, Any] = {
    "description": "Synthetic videos of the miniature world.",
    "dataset": {"path": "synthetic", "revision": "synthetic"},
    "modalities": ["video", "text"],
    "eval_langs": ["eng-Latn"],
}


class Retrieval(AbsTaskRetrieval):  # type: ignore[misc]
    """Words find videos, or what a search says that it finds in them."""

    k_values = (1, 10)
    metadata = TaskMetadata(
        name="MiniatureRetrieval", type="Any2AnyRetrieval", category="t2v", main_score="ndcg_at_10", **_ABOUT
    )

    def __init__(self, texts: Sequence[str], videos: Sequence[str], right: Mapping[str, Set[str]]) -> None:
        """Args:
        texts: the queries.
        videos: files.
        right: of each text, what is to be found.
        """
        super().__init__()
        queries = Dataset.from_dict({"id": texts, "text": texts})
        corpus = Dataset.from_dict({"id": videos, "video": videos}).cast_column("video", Video(decode=False))
        relevant = {text: dict.fromkeys(right[text], 1) for text in texts}
        split = {"queries": queries, "corpus": corpus, "relevant_docs": relevant, "top_ranked": None}
        self.dataset, self.data_loaded = {"default": {"test": split}}, True


class ZeroShot(AbsTaskZeroShotClassification):  # type: ignore[misc]
    """Videos of classes that are known by name."""

    input_column_name = "video"
    metadata = TaskMetadata(
        name="MiniatureZeroShot",
        type="VideoZeroshotClassification",
        category="v2t",
        main_score="accuracy",
        **_ABOUT,
    )

    def __init__(self, videos: Sequence[str], labels: Sequence[int], names: Sequence[str]) -> None:
        super().__init__()
        rows = Dataset.from_dict({"video": videos, "label": labels}).cast_column("video", Video(decode=False))
        self.dataset, self.data_loaded, self._names = DatasetDict(test=rows), True, [*names]

    def get_candidate_labels(self) -> list[str]:
        """The names."""
        return self._names


class Found:
    """A search of mteb whose answers are known: of each text, what was found, with scores."""

    def __init__(self, answers: Mapping[str, Mapping[str, float]]) -> None:
        self.answers, self.mteb_model_meta = answers, ModelMeta.create_empty({"modalities": ["text", "video"]})

    def index(self, corpus: Dataset, **_: Any) -> None:
        """Nothing is left to do."""

    def search(self, queries: Dataset, **_: Any) -> dict[str, dict[str, float]]:
        """The answers."""
        return {text: dict(self.answers[text]) for text in queries["text"]}


def scores(model: MtebModel | Found, task: Retrieval | ZeroShot) -> dict[str, float]:
    """What mteb computes, by its names."""
    (result,) = mteb.evaluate(model, task, cache=None, show_progress_bar=False).task_results
    found: dict[str, float] = result.scores["test"][0]
    return found


def retrieval_figures(model: MtebModel | Found, task: Retrieval) -> dict[str, float]:
    """What mteb computes, by our names."""
    found = scores(model, task)
    return {ours: found[theirs] for ours, theirs in FIGURES.items()}
