"""Video files to batches of bytes: lists, decoding, sampling, transforms, data sets, loader.

Nothing here knows a model. Videos are uint8 (B, V, T, 3, H, W), without V in training; the model normalises them.
`lists` says which videos there are; `sampling` says which frames; `reading` decodes them; `transforms` crops and
augments; `loading` makes samples and batches of them, in `workers`. `prepare` and `tools` serve data sets before any
training.
"""
