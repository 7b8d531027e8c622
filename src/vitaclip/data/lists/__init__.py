"""Which videos there are and of which class: list files, folders, tar files; and which of them are trained on."""
