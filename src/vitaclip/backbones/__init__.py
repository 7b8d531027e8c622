"""The frozen two-tower CLIP. It knows nothing of video or of prompts."""
