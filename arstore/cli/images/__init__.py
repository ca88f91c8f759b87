"""Commands on images: import, images, inspect, tag, untag, rm, unpack. Modules are imported when their commands run."""
