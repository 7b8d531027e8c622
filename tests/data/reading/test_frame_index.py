"""Which stretches of a file are decoded for which frames, on made-up indices."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vitaclip.data.reading.frame_index import FrameIndex


def index_of(times: list[int], key_places: list[int], hidden: tuple[int, ...] = ()) -> FrameIndex:
    """Packets with these display times, in storage order."""
    order = sorted((time, place) for place, time in enumerate(times) if place not in hidden)
    return FrameIndex(
        packet_times=np.array(times),
        packet_sizes=np.ones(len(times), dtype=np.int64),
        places=np.array([place for _, place in order]),
        key_places=np.array(key_places),
        key_numbers=np.searchsorted([time for time, _ in order], [times[place] for place in key_places]),
        key_decode_times=np.array(key_places),
    )


def stretches(index: FrameIndex, wanted: list[int]) -> list[tuple[int, int, tuple[int, ...]]]:
    return [(span.key_place, span.last_place, span.wanted) for span in index.spans(wanted)]


#           I  P  B  B  P  B  B  I   P   B  B   (closed groups)
CLOSED = [0, 3, 1, 2, 6, 4, 5, 7, 10, 8, 9]
#         I  P  B  B  I  B  B  P  B  B   (the two B-frames after the second I are shown before it)
OPEN = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]


def test_span_reaches_from_key_to_wanted_frame() -> None:
    index = index_of(CLOSED, [0, 7])
    assert stretches(index, [0]) == [(0, 0, (0,))]
    assert stretches(index, [1]) == [(0, 2, (1,))]
    assert stretches(index, [2, 3]) == [(0, 3, (2, 3))]  # frame 3 is stored before frame 2
    assert stretches(index, [9]) == [(7, 10, (9,))]


def test_distant_frames_are_stretches_of_their_own() -> None:
    index = index_of(CLOSED, [0, 7])
    assert stretches(index, [1, 3, 8]) == [(0, 2, (1, 3)), (7, 9, (8,))]


def test_frames_after_next_key_keep_own_span() -> None:
    index = index_of(OPEN, [0, 4])
    assert stretches(index, [5]) == [(0, 6, (5,))]
    assert stretches(index, [6]) == [(4, 4, (6,))]
    # The first stretch runs past the second key frame, and still gives no frames of that.
    assert stretches(index, [5, 8]) == [(0, 6, (5,)), (4, 9, (8,))]
    assert [span.first for span in index.spans([6])] == [6]


def test_packets_that_are_not_shown_have_no_number() -> None:
    index = index_of(CLOSED, [0, 7], hidden=(0, 2))
    assert len(index.places) == 9
    assert stretches(index, [0]) == [(0, 3, (0,))]


@given(st.integers(1, 40), st.integers(1, 12), st.data())
def test_spans_begin_at_key_frames(length: int, gop: int, data: st.DataObject) -> None:
    times = list(range(length))
    for place in range(gop, length - 1):  # move some frames behind the one they are shown before
        if place % gop not in (0, gop - 1) and data.draw(st.booleans()):
            times[place], times[place + 1] = times[place + 1], times[place]
    keys = [place for place in range(0, length, gop) if place == 0 or times[place] == place]
    index = index_of(times, keys)
    wanted = sorted(data.draw(st.sets(st.integers(0, length - 1), min_size=1)))
    spans = index.spans(wanted)
    assert [number for span in spans for number in span.wanted] == wanted
    for span in spans:
        assert span.key_place in keys
        for number in span.wanted:
            assert span.key_place <= index.places[number] <= span.last_place
            assert span.first <= number
    for first, second in pairwise(spans):
        assert first.key_place < second.key_place
