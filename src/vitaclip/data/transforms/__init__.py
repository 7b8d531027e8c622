"""What happens to decoded clips: sizes, crops, RandAugment; the same for all frames of a clip."""
