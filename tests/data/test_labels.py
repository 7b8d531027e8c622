"""Labels as tensors."""

import pytest
import torch

from vitaclip.data.labels import label_tensor, multi_hot, single_labels


def test_one_label_a_video_stays_an_index() -> None:
    labels = label_tensor([(2,), (0,), (1,)])
    assert labels.dtype == torch.int64
    assert labels.tolist() == [2, 0, 1]
    assert multi_hot(labels, 3).int().tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_several_labels_fill_a_row() -> None:
    labels = label_tensor([(0, 3), (2,), (0, 1, 3)], 3)
    assert labels.tolist() == [[0, 3, -1], [2, -1, -1], [0, 1, 3]]
    assert multi_hot(labels, 4).int().tolist() == [[1, 0, 0, 1], [0, 0, 1, 0], [1, 1, 0, 1]]
    assert label_tensor([], 3).shape == (0, 3)
    assert label_tensor([(1,)], 3).tolist() == [[1, -1, -1]]  # a part of a list has the width of the whole


def test_settings_for_one_label_refuse_several() -> None:
    assert single_labels([(1,), (0,)], "data.shots").tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"data\.shots needs one label a video; 1 of 2 videos have several"):
        single_labels([(1,), (0, 1)], "data.shots")
