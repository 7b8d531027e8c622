"""What happens when in long videos: from scores of windows to segments with times."""
