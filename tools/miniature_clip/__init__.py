"""How the miniature CLIP was trained: captions, stills, probes and the training itself."""
