"""Archives of videos that are searched with words, pictures and clips."""
