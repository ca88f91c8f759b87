"""`cp`: files in and out of a container's root file system, which a hostile program may change meanwhile."""
