"""What is done to a whole data set on disk: looked through, made smaller."""
