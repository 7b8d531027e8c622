"""A video where it lies (a file, a folder of pictures, a member of a tar file): exactly the wanted frames of it."""
