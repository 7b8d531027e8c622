"""Videos in tar files (webdataset's layout), each read in place: a row of a list like any other."""
