"""The parts that a video model is made of beside its backbone: what is added to the tower's blocks, how their tokens
become the features of a video, and what these are compared with. Each part is one class in one file, and knows no
other part.
"""
